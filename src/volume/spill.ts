/**
 * Payloads of writes that wait, outside the cache: their frames are wanted for requests that others make. Bounded; beyond that they
 * stay where they are, and at last no request can be read any more.
 */
import { SPILL_BYTES_MAX } from "../base/limits.ts";
import { BLOCK_BYTES, type FrameNo } from "../base/units.ts";
import type { FrameAllocator } from "../cache/allocator.ts";
import type { Slab } from "../cache/slab.ts";

export class Spill {
  private readonly slab: Slab;
  private readonly allocator: FrameAllocator;
  private readonly payloads = new Map<Int32Array, Uint8Array>();
  private bytes = 0;

  constructor(slab: Slab, allocator: FrameAllocator) {
    this.slab = slab;
    this.allocator = allocator;
  }

  /** The payload that lay in `frames` is here, and they are others' by now. */
  has(frames: Int32Array): boolean {
    return this.payloads.has(frames);
  }

  get isFull(): boolean {
    return this.bytes >= SPILL_BYTES_MAX;
  }

  /** Takes what lies in `frames`, and frees them. */
  take(frames: Int32Array): void {
    const bytes = frames.length * BLOCK_BYTES;
    const payload = new Uint8Array(bytes);
    frames.forEach((frame, i) => {
      const at = this.slab.frameIndex(frame as FrameNo);
      payload.set(this.slab.frameView(frame as FrameNo).subarray(at, at + BLOCK_BYTES), i * BLOCK_BYTES);
      this.allocator.release(frame as FrameNo);
    });
    this.payloads.set(frames, payload);
    this.bytes += bytes;
  }

  /**
   * Puts the payload into frames again, whose numbers are in `frames` then. If too few are free, those of `others` that wait are taken
   * instead: with nothing left to go home, they might wait for this one. False if even they are not enough.
   */
  give(frames: Int32Array, others: Iterable<{ frames: Int32Array }>): boolean {
    for (const other of others) {
      if (this.allocator.free >= frames.length) break;
      if (!this.has(other.frames)) this.take(other.frames);
    }
    this.allocator.ready();
    if (this.allocator.free < frames.length) return false;
    const payload = this.drop(frames)!;
    this.allocator.take(frames.length, frames);
    frames.forEach((frame, i) => {
      const bytes = payload.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES);
      this.slab.frameView(frame as FrameNo).set(bytes, this.slab.frameIndex(frame as FrameNo));
    });
    return true;
  }

  /** Forgets the payload: nobody wants it any more. */
  drop(frames: Int32Array): Uint8Array | undefined {
    const payload = this.payloads.get(frames);
    if (this.payloads.delete(frames)) this.bytes -= payload!.length;
    return payload;
  }
}
