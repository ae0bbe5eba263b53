/**
 * Reads: the newest published bytes of each block, and home's below them. A read that the cache holds whole is answered in
 * place from its frames. Any other reads the stretch from the first to the last block that home must help with, and
 * lays the frames over it.
 *
 * Why frames are pinned meanwhile: 1. the read finds block 7 dirty and asks home for block 8; 2. block 7 goes home and its
 * frame is freed; 3. home answers, with bytes of block 7 from before. The pinned frame still has the right ones.
 */
import type { Clock } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { BLOCK_BYTES, type BlockNo, type FrameNo } from "../base/units.ts";
import { NONE } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { Slab } from "../cache/slab.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import { Counter, type Counters } from "../stats/counters.ts";
import type { Io } from "../sys/io.ts";
import type { IoVector } from "../sys/iovec.ts";
import type { HomeDevice } from "../writeback/devices.ts";
import { type ReadBuffer, ReadBuffers } from "./read-buffers.ts";

/** Sends an answer: `bytes` bytes in entries 1 to `count` - 1 of `iov`, or a negated error number. Must not keep `iov`. */
export type SendRead = (result: number, iov: IoVector | undefined, count: number) => void;

interface ReadOperation {
  image: Image;
  offset: number;
  length: number;
  /** The frame of each block when the read began, pinned; NONE where there was none. */
  frames: Int32Array;
  buffer: ReadBuffer;
  /** Offset in the file of the buffer's first byte. */
  at: number;
  send: SendRead;
}

export interface ReaderContext {
  readonly cache: WriteCache;
  readonly slab: Slab;
  readonly io: Io;
  readonly counters: Counters;
  readonly clock: Clock;
  /** Where the home of `image` lies. */
  readonly device: (image: Image) => HomeDevice;
}

export class Reader {
  private readonly cache: WriteCache;
  private readonly slab: Slab;
  private readonly io: Io;
  private readonly counters: Counters;
  private readonly clock: Clock;
  private readonly device: (image: Image) => HomeDevice;
  private readonly buffers = new ReadBuffers();

  constructor({ cache, slab, io, counters, clock, device }: ReaderContext) {
    this.cache = cache;
    this.slab = slab;
    this.io = io;
    this.counters = counters;
    this.clock = clock;
    this.device = device;
  }

  private begin(image: Image): void {
    if (image.homeReads++ > 0) return;
    image.readsHeardUs = this.clock.lastUs;
    this.device(image).watch();
  }

  private end(image: Image): void {
    image.homeReads--;
    image.readsHeardUs = this.clock.lastUs;
  }

  /** Describes the range in `iov` from entry 1 if frames hold all of it; the entry after the last, or 0 if they do not. */
  gatherHits(image: Image, offset: number, length: number, iov: IoVector): number {
    const { cache, slab } = this;
    const end = offset + length;
    let count = 1;
    for (let block = Math.floor(offset / BLOCK_BYTES), at = offset; at < end; block++) {
      const frame = cache.find(image.slot, block as BlockNo);
      if (frame === NONE || !cache.frames.isFull(frame)) return 0;
      const next = Math.min((block + 1) * BLOCK_BYTES, end);
      count = append(iov, count, slab.frameAddress(frame) + at - block * BLOCK_BYTES, next - at);
      at = next;
    }
    this.counters.at[Counter.readHitBlocks]! +=
      Math.floor((end - 1) / BLOCK_BYTES) - Math.floor(offset / BLOCK_BYTES) + 1;
    return count;
  }

  /** Reads a range of which home holds some. The range lies within the image's size. */
  read(image: Image, offset: number, length: number, send: SendRead): void {
    this.begin(image);
    this.device(image).reads++;
    const first = Math.floor(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const bytes = Math.ceil((offset + length) / BLOCK_BYTES) * BLOCK_BYTES - first;
    const { io } = this;
    this.buffers.take(image.file.device, bytes, (buffer) => {
      const operation = { image, offset, length, frames: this.pinFrames(image, first, bytes), buffer, at: first, send };
      const { from, to } = this.missing(operation);
      const fd = image.file.fdFor(from, to - from);
      buffer.iov.set(0, buffer.address + from - first, to - from);
      io.readv(fd, buffer.iov.address, 1, from, (result) => this.arrived(operation, from, to, fd, result));
    });
  }

  private pinFrames(image: Image, first: number, bytes: number): Int32Array {
    const frames = new Int32Array(bytes / BLOCK_BYTES);
    for (let i = 0; i < frames.length; i++) {
      const frame = this.cache.find(image.slot, (first / BLOCK_BYTES + i) as BlockNo);
      frames[i] = frame;
      if (frame !== NONE) this.cache.pin(frame);
    }
    return frames;
  }

  /** The stretch of the file that home must give. */
  private missing({ frames, at }: ReadOperation): { from: number; to: number } {
    let first = frames.length;
    let last = 0;
    for (let i = 0; i < frames.length; i++) {
      const frame = frames[i] as FrameNo;
      if (frame !== NONE && this.cache.frames.isFull(frame)) continue;
      first = Math.min(first, i);
      last = i;
      this.counters.at[Counter.readMissBlocks]! += 1;
    }
    if (first > last) first = last; // filled since the caller looked: read one block all the same
    this.counters.at[Counter.readHitBlocks]! += Math.max(0, frames.length - (last - first + 1));
    return { from: at + first * BLOCK_BYTES, to: at + (last + 1) * BLOCK_BYTES };
  }

  private arrived(operation: ReadOperation, from: number, to: number, fd: number, result: number): void {
    const { image, buffer, at } = operation;
    if (result === -E.EINVAL && image.file.isDirect(fd)) {
      image.file.giveUpDirect();
      this.io.readv(image.file.buffered, buffer.iov.address, 1, from, (again) => {
        this.arrived(operation, from, to, image.file.buffered, again);
      });
      return;
    }
    if (result > 0 && from + result < Math.min(to, image.homeSize)) {
      this.readRest(operation, from, to, from + result);
      return;
    }
    this.finish(operation, from - at, to - at, result);
  }

  /** A short read before the end of the file: goes on from where it stopped, through the page cache. */
  private readRest(operation: ReadOperation, from: number, to: number, reached: number): void {
    const { buffer, at, image } = operation;
    buffer.iov.set(0, buffer.address + reached - at, to - reached);
    this.io.readv(image.file.buffered, buffer.iov.address, 1, reached, (result) => {
      if (result > 0 && reached + result < Math.min(to, image.homeSize))
        this.readRest(operation, from, to, reached + result);
      else this.finish(operation, from - at, to - at, result < 0 ? result : reached + result - from);
    });
  }

  private finish(operation: ReadOperation, from: number, to: number, result: number): void {
    const { image, offset, length, buffer, send } = operation;
    this.end(image);
    this.device(image).reads--;
    if (result < 0) {
      send(toldOf(result), undefined, 0);
    } else {
      buffer.bytes.fill(0, from + result, to);
      send(length, buffer.iov, this.compose(operation, offset, length));
    }
    for (const frame of operation.frames) if (frame !== NONE) this.cache.unpin(frame as FrameNo);
    this.buffers.give(buffer);
  }

  /** Describes the answer: whole frames in place, the rest from the buffer with the valid bytes of frames laid over it. */
  private compose(operation: ReadOperation, offset: number, length: number): number {
    const { image, buffer, at, frames } = operation;
    const end = offset + length;
    let count = 1;
    for (let i = 0; i < frames.length; i++) {
      const start = at + i * BLOCK_BYTES;
      const now = this.cache.find(image.slot, (start / BLOCK_BYTES) as BlockNo);
      const low = Math.max(start, offset);
      const high = Math.min(start + BLOCK_BYTES, end);
      const whole = this.wholeOf(now, frames[i] as FrameNo);
      if (whole !== NONE) {
        count = append(buffer.iov, count, this.slab.frameAddress(whole) + low - start, high - low);
        continue;
      }
      const target = buffer.bytes.subarray(start - at, start - at + BLOCK_BYTES);
      if (frames[i] !== NONE) this.cache.copyValid(frames[i] as FrameNo, target);
      if (now !== NONE && now !== frames[i]) this.cache.copyValid(now, target);
      count = append(buffer.iov, count, buffer.address + low - at, high - low);
    }
    return count;
  }

  private wholeOf(now: FrameNo, before: FrameNo): FrameNo {
    if (now !== NONE) return this.cache.frames.isFull(now) ? now : NONE;
    return before !== NONE && this.cache.frames.isFull(before) ? before : NONE;
  }

  /** Reads the whole of `block` from home into `buffer`; `done` gets a negated error number or 0. The rest is zeros. */
  readBlock(image: Image, block: BlockNo, use: (result: number, bytes: Uint8Array) => void): void {
    this.begin(image);
    this.buffers.take(image.file.device, BLOCK_BYTES, (buffer) =>
      this.readOn(image, block * BLOCK_BYTES, buffer, 0, use),
    );
  }

  /** Reads on until the block is full or the file at its end, which only a read of 0 bytes tells. */
  private readOn(
    image: Image,
    at: number,
    buffer: ReadBuffer,
    done: number,
    use: (result: number, bytes: Uint8Array) => void,
  ): void {
    buffer.iov.set(0, buffer.address + done, BLOCK_BYTES - done);
    this.io.readv(image.file.buffered, buffer.iov.address, 1, at + done, (result) => {
      if (result > 0 && done + result < BLOCK_BYTES) {
        this.readOn(image, at, buffer, done + result, use);
        return;
      }
      this.end(image);
      const bytes = buffer.bytes.subarray(0, BLOCK_BYTES);
      if (result >= 0) bytes.fill(0, done + result);
      use(toldOf(Math.min(result, 0)), bytes);
      this.buffers.give(buffer);
    });
  }
}

/** What stands for a file that is not there any more takes no I/O (`HomeFile`). */
const toldOf = (result: number): number => (result === -E.EBADF ? -E.ESTALE : result);

/** Adds `length` bytes at `address` to `iov`, joined with the entry before where they touch; the next free entry. */
function append(iov: IoVector, count: number, address: number, length: number): number {
  if (count > 1 && iov.endsAt(count - 1, address)) {
    iov.extend(count - 1, length);
    return count;
  }
  iov.set(count, address, length);
  return count + 1;
}
