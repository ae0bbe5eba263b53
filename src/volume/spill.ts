/**
 * Payloads of writes that wait, outside the cache: their frames are wanted for requests that others make. Bounded; beyond that they
 * stay where they are, and at last no request can be read any more.
 */
import { SPILL_AFTER_US, SPILL_BYTES_MAX } from "../base/limits.ts";
import type { Timers } from "../base/timers.ts";
import { BLOCK_BYTES, type FrameNo } from "../base/units.ts";
import type { FrameAllocator } from "../cache/allocator.ts";
import type { Slab } from "../cache/slab.ts";

export interface SpillContext {
  readonly slab: Slab;
  readonly allocator: FrameAllocator;
  readonly timers: Timers;
  nowUs(): number;
}

/** A write that waits, with its payload in frames or here. */
interface Waiting {
  readonly frames: Int32Array;
}

export class Spill {
  private readonly context: SpillContext;
  private readonly slab: Slab;
  private readonly allocator: FrameAllocator;
  /** Since when there are too few free frames to read a request; Infinity: there are enough. */
  private starvedSinceUs = Number.POSITIVE_INFINITY;
  private readonly payloads = new Map<Int32Array, Uint8Array>();
  private bytes = 0;

  constructor(context: SpillContext) {
    this.context = context;
    this.slab = context.slab;
    this.allocator = context.allocator;
  }

  /**
   * What waits (`parked`) must not keep the last frames for long: no request could be read any more, whomever it is for. Takes from all of
   * it that is not `isBrisk` first. Called once a turn of the loop.
   */
  relieve<T extends Waiting>(parked: Iterable<T>, isBrisk: (write: T) => boolean): void {
    if (this.allocator.ready()) {
      this.starvedSinceUs = Number.POSITIVE_INFINITY;
      return;
    }
    const now = this.context.nowUs();
    if (this.starvedSinceUs === Number.POSITIVE_INFINITY) {
      this.starvedSinceUs = now;
      this.context.timers.at(now + SPILL_AFTER_US, () => undefined);
    }
    if (now - this.starvedSinceUs < SPILL_AFTER_US) return;
    const last: T[] = [];
    for (const write of parked) {
      if (this.isFull) return;
      if (this.has(write.frames)) continue;
      if (isBrisk(write)) last.push(write);
      else this.take(write.frames);
    }
    for (const write of last) if (!this.isFull && !this.allocator.ready()) this.take(write.frames);
  }

  /** The payload that lay in `frames` is here, and they are others' by now. */
  has(frames: Int32Array): boolean {
    return this.payloads.has(frames);
  }

  private get isFull(): boolean {
    return this.bytes >= SPILL_BYTES_MAX;
  }

  /** Takes what lies in `frames`, and frees them. */
  private take(frames: Int32Array): void {
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
  give(frames: Int32Array, others: Iterable<Waiting>): boolean {
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
