/**
 * Where requests land: the first bytes of each in memory of its own, its payload in free frames, so that a WRITE's bytes are
 * already in the frames that will hold them.
 *
 * A window of scattered frames takes many iovec entries, and the kernel reads them all for every request. So only as many
 * frames are named as requests have lately needed, with spare memory behind them for one that is larger: what lands there is
 * copied to its frames. Together they have room for the largest payload and no more than the window has: the kernel does not read
 * requests into less, and fills all there is with forgets.
 */
import { REQUEST_BYTES_MAX, REQUEST_PAGES_MAX } from "../base/limits.ts";
import { BLOCK_BYTES, type FrameNo } from "../base/units.ts";
import type { FrameAllocator } from "../cache/allocator.ts";
import type { Slab } from "../cache/slab.ts";
import { IoVector } from "../sys/iovec.ts";
import { Mapping } from "../sys/memory.ts";

/** Requests after which a large payload is forgotten. */
const PERIOD = 512;

export class Landing {
  private readonly slab: Slab;
  private readonly allocator: FrameAllocator;
  private readonly iov = new IoVector(REQUEST_PAGES_MAX + 3);
  private readonly spare = Mapping.anonymous(REQUEST_BYTES_MAX);
  private readonly spareBytes = new Uint8Array(this.spare.view(0, REQUEST_BYTES_MAX));
  /** Frames that the largest payload of this period, and of the one before, took. */
  private largest = 1;
  private largestBefore = 1;
  private left = PERIOD;

  /** The first `headBytes` of a request go to `headAddress`. */
  constructor(slab: Slab, allocator: FrameAllocator, headAddress: number, headBytes: number) {
    this.slab = slab;
    this.allocator = allocator;
    this.spare.populate(); // see `Slab.populate`
    this.iov.set(0, headAddress, headBytes);
  }

  /** Native iovec array for the next request, described by `aim`. */
  get address(): number {
    return this.iov.address;
  }

  /** Describes where the next request goes; how many entries. The window must be `ready`. */
  aim(): number {
    const count = this.allocator.describe(this.iov, 1, Math.max(this.largest, this.largestBefore));
    const spareBytes = REQUEST_BYTES_MAX - this.allocator.described * BLOCK_BYTES;
    if (spareBytes <= 0) return count;
    this.iov.set(count, this.spare.address, spareBytes);
    return count + 1;
  }

  /** A request with `bytes` beyond its head has landed: all of them are in the window's frames now. */
  landed(bytes: number): void {
    if (--this.left === 0) {
      this.left = PERIOD;
      this.largestBefore = this.largest;
      this.largest = 1;
    }
    const frames = Math.ceil(bytes / BLOCK_BYTES);
    if (frames > this.largest) this.largest = frames;
    const inPlace = this.allocator.described;
    for (let i = inPlace; i < frames; i++) {
      const from = (i - inPlace) * BLOCK_BYTES;
      const frame = this.allocator.peek(i);
      this.slab.frameView(frame).set(this.spareBytes.subarray(from, from + BLOCK_BYTES), this.slab.frameIndex(frame));
    }
  }

  /** Copies the first `length` landed bytes to `target`. */
  copyTo(target: Uint8Array, length: number): void {
    for (let done = 0, i = 0; done < length; i++) {
      const frame = this.allocator.peek(i);
      const at = this.slab.frameIndex(frame);
      const step = Math.min(BLOCK_BYTES, length - done);
      target.set(this.slab.frameView(frame).subarray(at, at + step), done);
      done += step;
    }
  }
}

/**
 * A payload of `length` bytes lies at the start of `frames`; its first byte belongs `shift` bytes into the first block. Moves
 * all of it up by `shift`, from the last frame to the first, so that nothing is overwritten before it was moved.
 */
export function shiftPayload(slab: Slab, frames: Int32Array, length: number, shift: number): void {
  const last = Math.floor((shift + length - 1) / BLOCK_BYTES);
  for (let i = last; i >= 0; i--) {
    const frame = frames[i] as FrameNo;
    const view = slab.frameView(frame);
    const at = slab.frameIndex(frame);
    const own = Math.min(BLOCK_BYTES - shift, length - i * BLOCK_BYTES);
    if (own > 0) view.copyWithin(at + shift, at, at + own);
    if (i === 0) break;
    const before = frames[i - 1] as FrameNo;
    const from = slab.frameIndex(before);
    const spill = Math.min(shift, length - i * BLOCK_BYTES + shift);
    view.set(slab.frameView(before).subarray(from + BLOCK_BYTES - shift, from + BLOCK_BYTES - shift + spill), at);
  }
}
