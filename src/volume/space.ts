/**
 * Room on the backing filesystem for what is accepted: a sparse image on a full disk gets ENOSPC at its write, not when the
 * write goes home.
 *
 * While the filesystem has plenty, room for the holes of a 1 MiB chunk is put aside in the books when the chunk is first
 * written. Once what is free less what is put aside falls below a margin, the blocks of each write are allocated at home
 * (fallocate, KEEP_SIZE) before the write is answered; before the first of them, so are the dirty blocks for which room was only
 * put aside, or the write would take it. Books of an image are closed when it is clean.
 *
 * Other filesystems may be mounted inside the backing directory, so each device has a room of its own. Devices of major number 0
 * may all be one filesystem (subvolumes of btrfs have a number each): what is put aside in one of these is missing in all.
 */
import { E } from "../base/errno.ts";
import { SPACE_MARGIN_BYTES, SPACE_RECHECK_US } from "../base/limits.ts";
import { BLOCK_BYTES, type InodeSlot } from "../base/units.ts";
import { type FrameTable, NONE } from "../cache/frames.ts";
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

/**
 * A chunk that is whole has no holes; room for all of one that is put aside, and for the dirty blocks of one that is owed, is in
 * the books.
 */
const Chunk = { unknown: 0, whole: 1, putAside: 2, owed: 3 } as const;

interface Book {
  readonly image: Image;
  readonly room: Room;
  /** The state of each chunk. */
  chunks: Uint8Array;
  /** Put aside. */
  bytes: number;
  /** What the last attempt to allocate that was answered, a negated error number, and when there may be another. */
  refusal: number;
  redeemAtUs: number;
}

export class Space {
  private readonly books = new Map<InodeSlot, Book>();
  private readonly rooms = new Map<number, Room>();
  private readonly frames: FrameTable;
  private readonly nowUs: () => number;
  private readonly changing: () => void;

  /** `changing`: something of ours is about to give a home file a new time of modification. */
  constructor(frames: FrameTable, nowUs: () => number, changing: () => void) {
    this.frames = frames;
    this.changing = changing;
    this.nowUs = nowUs;
  }

  /** Makes sure of room for a write; 0 or a negated error number (ENOSPC, EDQUOT). */
  reserve(image: Image, offset: number, length: number): number {
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + length - 1) / CHUNK_BYTES);
    const book = this.bookOf(image, last);
    for (let chunk = first; chunk <= last; chunk++) {
      if (isSettled(book.chunks, chunk)) continue;
      const isShort = this.nowUs() < book.room.shortUntilUs;
      if (isShort || !this.settle(book, chunk)) return this.allocate(book, offset, length);
    }
    return 0;
  }

  /** Puts aside room for what is dirty of `image`: an earlier engine has accepted it. */
  takeOver(image: Image): void {
    for (let frame = image.dirty.head; frame !== NONE; frame = image.dirty.after(frame)) {
      const chunk = chunkOf(this.frames.block(frame));
      putAside(this.bookOf(image, chunk), chunk, BLOCK_BYTES, Chunk.owed);
    }
  }

  /**
   * An operation at home is about to take up to `bytes`, which must not be what is put aside. The function that is returned is to be
   * called when it has ended.
   */
  lend(image: Image, bytes: number): () => void {
    const room = this.roomOf(image.file.device);
    if (this.spare(image, room) < bytes) this.redeem(room);
    room.putAside += bytes;
    room.allowance = 0;
    return () => {
      room.putAside -= bytes;
      room.allowance = 0;
    };
  }

  /** Holes may have come about (truncate, punch). What is put aside stays so, for what is dirty elsewhere. */
  forget(slot: InodeSlot): void {
    const chunks = this.books.get(slot)?.chunks ?? [];
    for (let chunk = 0; chunk < chunks.length; chunk++)
      if (chunks[chunk] === Chunk.whole) chunks[chunk] = Chunk.unknown;
  }

  /** Nothing is dirty. */
  close(slot: InodeSlot): void {
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

  private bookOf(image: Image, lastChunk: number): Book {
    let book = this.books.get(image.slot);
    if (book === undefined) {
      const room = this.roomOf(image.file.device);
      book = { image, room, chunks: new Uint8Array(64), bytes: 0, refusal: 0, redeemAtUs: 0 };
      this.books.set(image.slot, book);
    }
    if (lastChunk >= book.chunks.length && lastChunk < 2 ** 30) {
      const wider = new Uint8Array(Math.max(lastChunk + 1, book.chunks.length * 2));
      wider.set(book.chunks);
      book.chunks = wider;
    }
    return book;
  }

  private settle(book: Book, chunk: number): boolean {
    const { room } = book;
    const bytes = hasHole(book.image, chunk) ? CHUNK_BYTES : 0;
    if (bytes > room.allowance && !this.ask(book, bytes)) return false;
    room.allowance -= bytes;
    putAside(book, chunk, bytes, bytes === 0 ? Chunk.whole : Chunk.putAside);
    return true;
  }

  /** Asks the filesystem what is free. False when it is too little to go by the books. */
  private ask({ image, room }: Book, bytes: number): boolean {
    room.allowance = Math.max(0, Math.min(this.spare(image, room), 64 * CHUNK_BYTES));
    if (bytes <= room.allowance) return true;
    room.shortUntilUs = this.nowUs() + SPACE_RECHECK_US;
    return false;
  }

  /** Bytes that are free, less the margin and what is put aside; what might still have been put aside is taken back. */
  private spare(image: Image, room: Room): number {
    let bytes = image.file.freeBytes() - SPACE_MARGIN_BYTES;
    for (const other of this.rooms.values()) {
      if (!mayBeOne(other, room)) continue;
      other.allowance = 0;
      bytes -= other.putAside;
    }
    return bytes;
  }

  /** Allocates the blocks of a write at home. While what is put aside has no room, only those that need none. */
  private allocate({ image, room }: Book, offset: number, length: number): number {
    const refused = this.redeem(room);
    this.changing();
    if (refused === 0) return keepingNote(image, () => image.file.reserve(offset, length));
    for (let at = Math.floor(offset / CHUNK_BYTES); at * CHUNK_BYTES < offset + length; at++)
      if (hasHole(image, at)) return refused;
    return 0;
  }

  /** Allocates at home what is put aside in the filesystem of `room`; 0, or ENOSPC if that has not so much. */
  private redeem(room: Room): number {
    for (const book of this.books.values()) {
      if (book.bytes === 0 || !mayBeOne(book.room, room)) continue;
      if (this.nowUs() >= book.redeemAtUs) this.redeemBook(book);
      if (book.refusal === -E.ENOSPC) return book.refusal;
    }
    return 0;
  }

  private redeemBook(book: Book): void {
    const { image, room, chunks } = book;
    const refused = image.file.makeWritable();
    this.changing();
    book.refusal = refused < 0 ? refused : keepingNote(image, () => this.allocateDirty(book));
    book.redeemAtUs = this.nowUs() + SPACE_RECHECK_US;
    if (book.refusal < 0) return;
    room.putAside -= book.bytes;
    book.bytes = 0;
    book.redeemAtUs = 0;
    for (let chunk = 0; chunk < chunks.length; chunk++) if (isDue(chunks, chunk)) chunks[chunk] = Chunk.unknown;
  }

  private allocateDirty({ image, chunks }: Book): number {
    const blocks: number[] = [];
    for (let frame = image.dirty.head; frame !== NONE; frame = image.dirty.after(frame)) {
      const block = this.frames.block(frame);
      if (isDue(chunks, chunkOf(block))) blocks.push(block);
    }
    blocks.sort((a, b) => a - b);
    for (let from = 0, to = 1; from < blocks.length; from = to, to++) {
      while (blocks[to]! <= blocks[to - 1]! + 1) to++;
      const length = blocks[to - 1]! + 1 - blocks[from]!;
      const result = image.file.reserve(blocks[from]! * BLOCK_BYTES, length * BLOCK_BYTES);
      if (result < 0) return result;
    }
    return 0;
  }
}

const mayBeOne = (a: Room, b: Room): boolean =>
  a === b || (a.device < ANONYMOUS_DEVICES && b.device < ANONYMOUS_DEVICES);

const chunkOf = (block: number): number => Math.floor((block * BLOCK_BYTES) / CHUNK_BYTES);

function putAside(book: Book, chunk: number, bytes: number, state: number): void {
  book.room.putAside += bytes;
  book.bytes += bytes;
  book.chunks[chunk] = state;
}

/** A write there needs no room of its own. */
const isSettled = (chunks: Uint8Array, chunk: number): boolean =>
  chunks[chunk] === Chunk.whole || chunks[chunk] === Chunk.putAside;

/** What is dirty there has its room in the books alone. */
const isDue = (chunks: Uint8Array, chunk: number): boolean =>
  chunks[chunk] === Chunk.putAside || chunks[chunk] === Chunk.owed;

/** True if the chunk of the backing file is not all data. */
function hasHole(image: Image, chunk: number): boolean {
  const offset = chunk * CHUNK_BYTES;
  const end = offset + CHUNK_BYTES;
  const data = image.file.seek(offset, SEEK_DATA);
  if (data !== offset) return true;
  return image.file.seek(offset, SEEK_HOLE) < Math.min(end, image.homeSize) || image.homeSize < end;
}
