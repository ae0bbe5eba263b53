/** The images that have open backing files or dirty data, by inode slot, and what the engine knows of each. */
import { BLOCK_BYTES, type InodeSlot } from "../base/units.ts";
import type { HomeFile } from "../device/home-file.ts";
import { Extension } from "./extension.ts";
import type { FrameTable } from "./frames.ts";
import { type Allocation, ImageFlag, type ImageTable } from "./image.ts";
import { FrameList } from "./list.ts";
import { FrameQueue } from "./queue.ts";

/** An image in use. Fields above the line are also in the slab, by way of the setters. */
export class Image {
  readonly slot: InodeSlot;
  readonly file: HomeFile;
  /** Frames in state dirty or inflight, and those doomed while in flight, oldest `since` first. */
  readonly dirty: FrameList;
  /** Frames in state written. */
  readonly written: FrameList;
  /** Frames in state flushing. */
  readonly flushing: FrameList;
  /** Home writes under way. */
  homeWrites = 0;
  /** Home bytes may be in the device's cache only: a flush must reach it. What came before this opening is not known. */
  unflushed = true;
  /** Changes of its size, holes, name and attributes, and copies within it: how many, and how many a device flush has covered. */
  shapeChanges = 1;
  shapeDurable = 0;
  /** Frames that the journal may not have yet: among them all of which it has nothing, each perhaps more than once. Overfull: any may be one. */
  readonly uncommitted = new FrameQueue();
  readonly extension: Extension;
  /** Bytes of the backing file; at most `size`. */
  homeSize: number;
  /** Home reads under way. */
  homeReads = 0;
  /** While there are any: when the last one ended, or the first began; microseconds. */
  readsHeardUs = 0;
  /** When the change of its shape that is under way at home began, microseconds; Infinity without one. */
  shapingSinceUs = Number.POSITIVE_INFINITY;
  /** What the last home operation that failed was answered, a negated error number; 0: all has gone home since. */
  lastError = 0;
  /** Operations that have waits of their own and need the image open until they end. */
  holds = 0;
  /** An operation that changes the file's shape has it to itself: requests wait. */
  gated = false;
  /** No home I/O begins either. */
  isHomeShut = false;
  /** The cut that has begun took no effect, and is yet to be told so to the journal. */
  cutHasFailed = false;
  /** Bytes up to which the backing file is known to be able to grow. */
  reach: number;
  readonly table: ImageTable;
  private sizeNow: number;

  constructor(slot: InodeSlot, frames: FrameTable, table: ImageTable, file: HomeFile) {
    this.slot = slot;
    this.file = file;
    this.table = table;
    this.dirty = new FrameList(frames);
    this.written = new FrameList(frames);
    this.flushing = new FrameList(frames);
    this.homeSize = file.size;
    this.reach = this.homeSize;
    // Home is longer when an engine was killed as an operation that nobody asks for again had made it so.
    this.sizeNow = table.flags(slot) & ImageFlag.size ? Math.max(table.size(slot), this.homeSize) : this.homeSize;
    this.extension = new Extension(this.blocksBefore);
  }

  /** Blocks of which it has at least one byte. */
  get blocksBefore(): number {
    return Math.ceil(this.sizeNow / BLOCK_BYTES);
  }

  /** Most frames that `uncommitted` can come to. */
  get uncommittedMost(): number {
    return this.uncommitted.isOverfull ? this.blocks : this.uncommitted.count;
  }

  /** Its size or holes have changed at home. */
  changeShape(): void {
    this.shapeChanges++;
    this.setFlag(ImageFlag.shape);
  }

  /** A device flush has covered the first `changes` of these. */
  shapeFlushed(changes: number): void {
    this.shapeDurable = changes;
    if (!this.shapeUnflushed) this.clearFlag(ImageFlag.shape | ImageFlag.fresh);
  }

  /** True while a change of shape is not on stable media. */
  get shapeUnflushed(): boolean {
    return this.shapeDurable < this.shapeChanges;
  }

  /** Bytes of the image as its users see it. */
  get size(): number {
    return this.sizeNow;
  }

  /** A write ended at `end`: the image is at least that long. */
  growTo(end: number): void {
    if (end <= this.sizeNow) return;
    this.sizeNow = end;
    this.table.setSize(this.slot, end);
    this.setFlag(ImageFlag.size);
  }

  /** What was to be written beyond `end` was not. */
  shrinkTo(end: number): void {
    this.sizeNow = end;
    this.table.setSize(this.slot, end);
  }

  /** The backing file was made `size` bytes long. */
  setHomeAndSize(size: number): void {
    this.sizeNow = size;
    this.homeSize = size;
    this.table.setSize(this.slot, size);
    this.clearFlag(ImageFlag.size);
  }

  /** A truncate to `size` begins, behind the journal's commit `after`: if the engine dies before `endCut`, the next one carries it out. */
  beginCut(size: number, after: number): void {
    this.beginChange(after);
    this.table.setCut(this.slot, size);
    this.setFlag(ImageFlag.cut);
  }

  endCut(): void {
    this.cutHasFailed = false;
    this.clearFlag(ImageFlag.cut);
  }

  /** The same for a fallocate and `endAllocation`. */
  beginAllocation(allocation: Allocation, after: number): void {
    this.beginChange(after);
    this.table.setAllocation(this.slot, allocation);
    this.setFlag(ImageFlag.allocation);
  }

  /** One that a killed engine had begun began when that one says. */
  private beginChange(after: number): void {
    if (!this.hasFlag(ImageFlag.cut | ImageFlag.allocation)) this.table.setBegunAfter(this.slot, after);
  }

  endAllocation(): void {
    this.clearFlag(ImageFlag.allocation);
  }

  /** It was changed at that instant. */
  touch(seconds: number, nanoseconds: number): void {
    this.table.setMtime(this.slot, seconds, nanoseconds);
    this.table.setFlags(this.slot, (this.table.flags(this.slot) | ImageFlag.mtime) & ~ImageFlag.given);
  }

  get mtime(): { seconds: number; nanoseconds: number } {
    return this.table.mtime(this.slot);
  }

  setFlag(flag: number): void {
    this.table.setFlags(this.slot, this.table.flags(this.slot) | flag);
  }

  clearFlag(flag: number): void {
    this.table.setFlags(this.slot, this.table.flags(this.slot) & ~flag);
  }

  hasFlag(flag: number): boolean {
    return (this.table.flags(this.slot) & flag) !== 0;
  }

  /** Home writes that have failed, since the slab was made. */
  get errors(): number {
    return this.table.errors(this.slot);
  }

  countError(): void {
    this.table.setErrors(this.slot, this.errors + 1);
  }

  /** Blocks of this image that are not durable at home. */
  get blocks(): number {
    return this.dirty.count + this.written.count + this.flushing.count;
  }
}
