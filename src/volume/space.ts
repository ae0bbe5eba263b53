/**
 * Room on the backing filesystem for what is accepted: a sparse image on a full disk gets ENOSPC at its write, not when the
 * write goes home.
 *
 * While the filesystem has plenty, room for the holes of a 1 MiB chunk is put aside in the books when the chunk is first
 * written. Once what is free less what is put aside falls below a margin, the blocks of each write are allocated at home
 * (fallocate, KEEP_SIZE) before the write is answered. Books of an image are closed when it is clean.
 *
 * Other filesystems may be mounted inside the backing directory, so each device has a room of its own. Devices of major number 0
 * may all be one filesystem (subvolumes of btrfs have a number each): what is put aside in one of these is missing in all.
 */
import { SPACE_MARGIN_BYTES, SPACE_RECHECK_US } from "../base/limits.ts";
import type { InodeSlot } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import { keepingNote } from "../cache/note.ts";
import { SEEK_DATA, SEEK_HOLE } from "../sys/constants.ts";

const CHUNK_BYTES = 2 ** 20;

/** Devices below this have major number 0. */
const ANONYMOUS_DEVICES = 2 ** 20;

/** What is known of one device. */
interface Room {
  readonly device: number;
  putAside: number;
  /** Bytes that may still be put aside before the filesystem is asked again. */
  allowance: number;
  shortUntilUs: number;
}

interface Book {
  readonly room: Room;
  /** One byte a chunk: 1 if its room is put aside or it has no holes. */
  settled: Uint8Array;
  bytes: number;
}

export class Space {
  private readonly books = new Map<InodeSlot, Book>();
  private readonly rooms = new Map<number, Room>();
  private readonly nowUs: () => number;
  private readonly changing: () => void;

  /** `changing`: something of ours is about to give a home file a new time of modification. */
  constructor(nowUs: () => number, changing: () => void) {
    this.changing = changing;
    this.nowUs = nowUs;
  }

  /** Makes sure of room for a write; 0 or a negated error number (ENOSPC, EDQUOT). */
  reserve(image: Image, offset: number, length: number): number {
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    const book = this.bookOf(image, last);
    for (let chunk = first; chunk <= last; chunk++) {
      if (book.settled[chunk] === 1) continue;
      if (this.nowUs() < book.room.shortUntilUs || !this.settle(image, book, chunk)) {
        this.changing();
        return keepingNote(image, () => image.file.reserve(offset, length));
      }
    }
    return 0;
  }

  /** Holes may have come about (truncate, punch), or the image is clean: its books are closed. */
  forget(slot: InodeSlot): void {
    const book = this.books.get(slot);
    if (book === undefined) return;
    book.room.putAside -= book.bytes;
    this.books.delete(slot);
  }

  private roomOf(device: number): Room {
    let room = this.rooms.get(device);
    if (room === undefined) {
      room = { device, putAside: 0, allowance: 0, shortUntilUs: 0 };
      this.rooms.set(device, room);
    }
    return room;
  }

  private bookOf({ slot, file }: Image, lastChunk: number): Book {
    let book = this.books.get(slot);
    if (book === undefined) {
      book = { room: this.roomOf(file.device), settled: new Uint8Array(64), bytes: 0 };
      this.books.set(slot, book);
    }
    if (lastChunk >= book.settled.length && lastChunk < 2 ** 30) {
      const wider = new Uint8Array(Math.max(lastChunk + 1, book.settled.length * 2));
      wider.set(book.settled);
      book.settled = wider;
    }
    return book;
  }

  private settle(image: Image, book: Book, chunk: number): boolean {
    const at = chunk * CHUNK_BYTES;
    const { room } = book;
    const bytes = hasHole(image, at) ? CHUNK_BYTES : 0;
    if (bytes > room.allowance && !this.ask(image, room, bytes)) return false;
    room.allowance -= bytes;
    room.putAside += bytes;
    book.bytes += bytes;
    book.settled[chunk] = 1;
    return true;
  }

  /** Asks the filesystem what is free. False when it is too little to go by the books. */
  private ask({ file }: Image, room: Room, bytes: number): boolean {
    let spare = file.freeBytes() - SPACE_MARGIN_BYTES;
    for (const other of this.rooms.values()) {
      if (!mayBeOne(other, room)) continue;
      other.allowance = 0; // of what was free before
      spare -= other.putAside;
    }
    room.allowance = Math.max(0, Math.min(spare, 64 * CHUNK_BYTES));
    if (bytes <= room.allowance) return true;
    room.shortUntilUs = this.nowUs() + SPACE_RECHECK_US;
    return false;
  }
}

const mayBeOne = (a: Room, b: Room): boolean =>
  a === b || (a.device < ANONYMOUS_DEVICES && b.device < ANONYMOUS_DEVICES);

/** True if the chunk at `offset` of the backing file is not all data. */
function hasHole(image: Image, offset: number): boolean {
  const end = offset + CHUNK_BYTES;
  const data = image.file.seek(offset, SEEK_DATA);
  if (data !== offset) return true;
  return image.file.seek(offset, SEEK_HOLE) < Math.min(end, image.homeSize) || image.homeSize < end;
}
