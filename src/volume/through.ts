/**
 * Writes without the cache (`--cache off`): the payload goes from the frames that it landed in straight to the backing file, and
 * the write is answered when the kernel has it there. Nothing is ever dirty; a flush is the backing file's own.
 */
import { E } from "../base/errno.ts";
import { BLOCK_BYTES, blocksTouched, type FrameNo, type InodeSlot } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import type { Slab } from "../cache/slab.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import { Counter, type Counters } from "../stats/counters.ts";
import type { Io } from "../sys/io.ts";
import { IoVector } from "../sys/iovec.ts";
import { PARKED } from "./admission.ts";
import type { Gates } from "./gates.ts";

export interface ThroughContext {
  readonly cache: WriteCache;
  readonly slab: Slab;
  readonly counters: Counters;
  readonly io: Io;
  readonly gates: Gates;
  /** The image at `slot`, opened if need be, or a negated error number. */
  open(slot: InodeSlot): Image | number;
}

interface ThroughWrite {
  slot: InodeSlot;
  offset: number;
  length: number;
  frames: Int32Array;
  /** Bytes that the backing file has. */
  reached: number;
  iov: IoVector;
  done: (result: number) => void;
}

export class Through {
  private readonly context: ThroughContext;
  /** Arrays that no write uses, each large enough for any. */
  private readonly idle: IoVector[] = [];
  private readonly entries: number;

  /** `entries`: frames of the largest write. */
  constructor(context: ThroughContext, entries: number) {
    this.context = context;
    this.entries = entries;
  }

  /** As `Admission.write`; always PARKED. */
  write(slot: InodeSlot, offset: number, length: number, taken: Int32Array, done: (result: number) => void): number {
    const frames = taken.slice(0, blocksTouched(offset, length));
    const iov = this.idle.pop() ?? new IoVector(this.entries);
    this.begin({ slot, offset, length, frames, reached: 0, iov, done });
    return PARKED;
  }

  private begin(write: ThroughWrite): void {
    const { gates } = this.context;
    if (gates.isShut(write.slot)) {
      gates.behind(write.slot, () => this.begin(write));
      return;
    }
    const image = this.context.open(write.slot);
    if (typeof image === "number") {
      this.end(write, image);
      return;
    }
    const refused = image.file.makeWritable();
    if (refused < 0) {
      this.end(write, refused);
      return;
    }
    image.homeWrites++;
    this.aim(write);
    this.submit(write, image, 0);
  }

  /** Describes the payload in the write's iovec array, one entry a frame. */
  private aim({ offset, length, frames, iov }: ThroughWrite): void {
    let at = offset;
    for (let i = 0; i < frames.length; i++) {
      const within = at % BLOCK_BYTES;
      const step = Math.min(BLOCK_BYTES - within, offset + length - at);
      iov.set(i, this.context.slab.frameAddress(frames[i] as FrameNo) + within, step);
      at += step;
    }
  }

  /** Begins the home write of entries `first` on. */
  private submit(write: ThroughWrite, image: Image, first: number): void {
    const { iov, frames } = write;
    const at = write.offset + write.reached;
    this.context.counters.at[Counter.writebackIos]! += 1;
    this.context.io.writev(image.file.buffered, iov.address + first * 16, frames.length - first, at, (result) => {
      this.wrote(write, image, first, result);
    });
  }

  private wrote(write: ThroughWrite, image: Image, first: number, result: number): void {
    if (result > 0) {
      write.reached += result;
      image.unflushed = true;
      image.changeShape(); // no frame has it: whoever flushes, closes the file, or comes after this engine must flush the device for it
      image.setHomeAndSize(Math.max(image.size, write.offset + write.reached));
      if (write.reached < write.length) {
        this.submit(write, image, write.iov.advance(first, write.frames.length - first, result));
        return;
      }
    }
    image.homeWrites--;
    if (result > 0) this.count(write);
    else this.context.counters.at[Counter.writebackErrors]! += 1;
    this.end(write, result > 0 ? write.length : result === 0 ? -E.EIO : result);
  }

  private count({ length, frames }: ThroughWrite): void {
    const { at } = this.context.counters;
    at[Counter.writeRequests]! += 1;
    at[Counter.writeBytes]! += length;
    at[Counter.writeBlocks]! += frames.length;
    at[Counter.writebackBlocks]! += frames.length;
    at[Counter.writebackBytes]! += length;
  }

  private end({ frames, iov, done }: ThroughWrite, result: number): void {
    for (const frame of frames) this.context.cache.allocator.release(frame as FrameNo);
    this.idle.push(iov);
    done(result);
  }
}
