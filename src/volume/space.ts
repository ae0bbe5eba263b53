/**
 * Room on the backing filesystem for what is accepted: a sparse image on a full disk gets ENOSPC at its write, not when the
 * write goes home.
 *
 * While the filesystem has plenty, room for the holes of a 1 MiB chunk is put aside in the books when the chunk is first
 * written. Once what is free less what is put aside falls below a margin, the blocks of each write are allocated at home
 * (fallocate, KEEP_SIZE) before the write is answered. Books of an image are closed when it is clean.
 */
import { SPACE_MARGIN_BYTES, SPACE_RECHECK_US } from "../base/limits.ts";
import type { InodeSlot } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import { keepingNote } from "../cache/note.ts";
import type { Home } from "../device/home-file.ts";
import { SEEK_DATA, SEEK_HOLE } from "../sys/constants.ts";

const CHUNK_BYTES = 2 ** 20;

interface Book {
  /** One byte a chunk: 1 if its room is put aside or it has no holes. */
  settled: Uint8Array;
  bytes: number;
}

export class Space {
  private readonly books = new Map<InodeSlot, Book>();
  private readonly home: Home;
  private readonly nowUs: () => number;
  private putAside = 0;
  /** Bytes that may still be put aside before the filesystem is asked again. */
  private allowance = 0;
  private shortUntilUs = 0;
  private readonly changing: () => void;

  /** `changing`: something of ours is about to give a home file a new time of modification. */
  constructor(home: Home, nowUs: () => number, changing: () => void) {
    this.changing = changing;
    this.home = home;
    this.nowUs = nowUs;
  }

  /** Makes sure of room for a write; 0 or a negated error number (ENOSPC, EDQUOT). */
  reserve(image: Image, offset: number, length: number): number {
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    const book = this.bookOf(image.slot, last);
    for (let chunk = first; chunk <= last; chunk++) {
      if (book.settled[chunk] === 1) continue;
      if (this.nowUs() < this.shortUntilUs || !this.settle(image, book, chunk)) {
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
    this.putAside -= book.bytes;
    this.books.delete(slot);
  }

  private bookOf(slot: InodeSlot, lastChunk: number): Book {
    let book = this.books.get(slot);
    if (book === undefined) {
      book = { settled: new Uint8Array(64), bytes: 0 };
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
    const bytes = hasHole(image, at) ? CHUNK_BYTES : 0;
    if (bytes > this.allowance && !this.ask(bytes)) return false;
    this.allowance -= bytes;
    this.putAside += bytes;
    book.bytes += bytes;
    book.settled[chunk] = 1;
    return true;
  }

  /** Asks the filesystem what is free. False when it is too little to go by the books. */
  private ask(bytes: number): boolean {
    const spare = this.home.freeBytes() - this.putAside - SPACE_MARGIN_BYTES;
    this.allowance = Math.max(0, Math.min(spare, 64 * CHUNK_BYTES));
    if (bytes <= this.allowance) return true;
    this.shortUntilUs = this.nowUs() + SPACE_RECHECK_US;
    return false;
  }
}

/** True if the chunk at `offset` of the backing file is not all data. */
function hasHole(image: Image, offset: number): boolean {
  const end = offset + CHUNK_BYTES;
  const data = image.file.seek(offset, SEEK_DATA);
  if (data !== offset) return true;
  return image.file.seek(offset, SEEK_HOLE) < Math.min(end, image.homeSize) || image.homeSize < end;
}
