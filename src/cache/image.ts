/**
 * An image as the cache knows it: the state of one inode slot that has, or had, dirty data.
 *
 * What must survive a killed engine lies in the inode record in the slab (416 bytes, this table):
 *
 *   0  u32 used (0 or 1)       4  u32 generation      8  f64 parent slot (-1: none)   16 u64 inode number
 *   24 u64 device              32 f64 look-ups held   40 u32 mode                     44 u32 flags (ImageFlag)
 *   48 f64 size, bytes         56 f64 mtime seconds   64 f64 mtime nanoseconds        72 f64 error sequence
 *   80 f64 records ever in use (in the root's record only)   88 f64 time of birth
 *   96 f64 noted size, bytes  104 f64 noted mtime, ms         112 f64 size of a cut begun
 *   120 u16 name length        122 name, up to 255 bytes
 *   384 f64 mode, 392 f64 offset and 400 f64 length of a fallocate begun
 *   408 f64 last commit before a cut or fallocate began
 *
 * `fs/inodes.ts` owns bytes 0 to 43, 80 to 95 and the name; this file owns the others (the note: `note.ts`).
 */
import type { InodeSlot } from "../base/units.ts";
import type { Look } from "../device/home-file.ts";
import { INODE_BYTES } from "./slab.ts";

export const ImageFlag = {
  /** `size` is newer than the backing file's. */
  size: 1,
  /** `mtime` is newer than the backing file's. */
  mtime: 2,
  /** A home write failed and its data is not yet down. */
  failing: 4,
  /** The record's name is the one under `.hypegear/held/`: unlinked while in use (fs/ sets it). */
  held: 8,
  /** The note of the backing file is firm, or loose; neither: there is none (`note.ts`). */
  firm: 16,
  loose: 32,
  /** A truncate has begun and not ended. */
  cut: 64,
  /** A fallocate has begun and not ended. */
  allocation: 128,
  /** Its size or holes were changed at home, and no device flush has covered that: the next engine opens it, or would not know. */
  shape: 256,
  /** It has lost its last name, and what was dirty of it is dropped: home may have less than the journal. */
  dropped: 512,
  /** The file was made, and no flush has made that durable. */
  fresh: 1024,
  /** `mtime` was given by a user, and is no instant of a change: that one has the backing file. */
  given: 2048,
} as const;

/** The arguments of fallocate(2). */
export interface Allocation {
  mode: number;
  offset: number;
  length: number;
}

/** The persistent fields of images, by inode slot. */
export class ImageTable {
  private readonly u32: Uint32Array;
  private readonly f64: Float64Array;

  constructor(records: ArrayBuffer) {
    this.u32 = new Uint32Array(records);
    this.f64 = new Float64Array(records);
  }

  flags(slot: InodeSlot): number {
    return this.u32[(slot * INODE_BYTES + 44) >>> 2]!;
  }

  setFlags(slot: InodeSlot, flags: number): void {
    this.u32[(slot * INODE_BYTES + 44) >>> 2] = flags;
  }

  size(slot: InodeSlot): number {
    return this.f64[(slot * INODE_BYTES + 48) / 8]!;
  }

  setSize(slot: InodeSlot, size: number): void {
    this.f64[(slot * INODE_BYTES + 48) / 8] = size;
  }

  mtime(slot: InodeSlot): { seconds: number; nanoseconds: number } {
    const at = (slot * INODE_BYTES + 56) / 8;
    return { seconds: this.f64[at]!, nanoseconds: this.f64[at + 1]! };
  }

  setMtime(slot: InodeSlot, seconds: number, nanoseconds: number): void {
    const at = (slot * INODE_BYTES + 56) / 8;
    this.f64[at] = seconds;
    this.f64[at + 1] = nanoseconds;
  }

  errors(slot: InodeSlot): number {
    return this.f64[(slot * INODE_BYTES + 72) / 8]!;
  }

  setErrors(slot: InodeSlot, errors: number): void {
    this.f64[(slot * INODE_BYTES + 72) / 8] = errors;
  }

  /** The size that a truncate which has not ended gives the image. */
  cut(slot: InodeSlot): number {
    return this.f64[(slot * INODE_BYTES + 112) / 8]!;
  }

  setCut(slot: InodeSlot, size: number): void {
    this.f64[(slot * INODE_BYTES + 112) / 8] = size;
  }

  /** The fallocate that has not ended. */
  allocation(slot: InodeSlot): Allocation {
    const at = (slot * INODE_BYTES + 384) / 8;
    return { mode: this.f64[at]!, offset: this.f64[at + 1]!, length: this.f64[at + 2]! };
  }

  setAllocation(slot: InodeSlot, { mode, offset, length }: Allocation): void {
    const at = (slot * INODE_BYTES + 384) / 8;
    this.f64[at] = mode;
    this.f64[at + 1] = offset;
    this.f64[at + 2] = length;
  }

  /** Sequence of the last commit of the journal when the cut or fallocate that has not ended began; 0: none had been. */
  begunAfter(slot: InodeSlot): number {
    return this.f64[(slot * INODE_BYTES + 408) / 8]!;
  }

  setBegunAfter(slot: InodeSlot, sequence: number): void {
    this.f64[(slot * INODE_BYTES + 408) / 8] = sequence;
  }

  /** What was last noted of the backing file. */
  note(slot: InodeSlot): Look {
    const at = (slot * INODE_BYTES + 96) / 8;
    return { size: this.f64[at]!, modifiedMs: this.f64[at + 1]! };
  }

  setNote(slot: InodeSlot, look: Look): void {
    const at = (slot * INODE_BYTES + 96) / 8;
    this.f64[at] = look.size;
    this.f64[at + 1] = look.modifiedMs;
  }
}
