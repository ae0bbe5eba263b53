/**
 * Free frames, and the landing window: the free frames that the next request's payload goes to.
 *
 * The window is a queue of runs of adjacent frames, LANDING_FRAMES in all. A write takes frames from the front; the window
 * is filled up at the back from a cursor that goes round the free map, so that the frames of a stream lie side by side.
 *
 * Invariant: a frame is in exactly one of: the free map, the window, the caller's hands or the frame table.
 */
import { assert } from "../base/assert.ts";
import { LANDING_FRAMES } from "../base/limits.ts";
import { BLOCK_BYTES, type FrameNo } from "../base/units.ts";
import type { IoVector } from "../sys/iovec.ts";

/** Places in the queue of runs; a full window has at most LANDING_FRAMES of them. */
const RUNS_MAX = 4096;
assert(LANDING_FRAMES < RUNS_MAX, "the queue of runs slides down before it is full");

export class FrameAllocator {
  private readonly map: Uint32Array;
  private readonly count: number;
  private readonly base: number;
  private cursor = 0;
  private freeInMap = 0;
  private readonly starts = new Int32Array(RUNS_MAX);
  private readonly lengths = new Int32Array(RUNS_MAX);
  private first = 0;
  private end = 0;
  private windowFrames = 0;
  /** Frames that the last `describe` named. */
  described = 0;

  /** All frames are taken at first; `release` gives them in. */
  constructor(count: number, framesAddress: number) {
    this.count = count;
    this.base = framesAddress;
    this.map = new Uint32Array(Math.ceil(count / 32));
  }

  /** Frames that nothing uses, the landing window's included. */
  get free(): number {
    return this.freeInMap + this.windowFrames;
  }

  release(frame: FrameNo): void {
    const bit = 1 << (frame & 31);
    assert((this.map[frame >>> 5]! & bit) === 0, "a frame is freed once");
    this.map[frame >>> 5]! |= bit;
    this.freeInMap++;
  }

  /** Fills the window up. False when there are too few free frames to read a request. */
  ready(): boolean {
    while (this.windowFrames < LANDING_FRAMES) {
      if (this.freeInMap === 0) return false;
      this.appendRun(LANDING_FRAMES - this.windowFrames);
    }
    return true;
  }

  /**
   * True if one frame can be taken, which an operation behind a gate needs. It must not wait for a full window: 1. a punch
   * shuts the gate and waits  2. writes that have landed wait behind it with their frames, so many that no window can be
   * filled  3. neither would ever go on.
   */
  readyForOne(): boolean {
    return this.ready() || this.windowFrames > 0;
  }

  /**
   * Describes the front of the window in `iov` from entry `at` on: as many runs as it takes for `frames` frames. The entry
   * after the last; `described` is then how many frames they have.
   */
  describe(iov: IoVector, at: number, frames: number): number {
    let entry = at;
    this.described = 0;
    for (let run = this.first; run < this.end && this.described < frames; run++) {
      iov.set(entry++, this.base + this.starts[run]! * BLOCK_BYTES, this.lengths[run]! * BLOCK_BYTES);
      this.described += this.lengths[run]!;
    }
    return entry;
  }

  /** The `n`th frame of the window without taking it; 0 is where a payload's first bytes are. */
  peek(n: number): FrameNo {
    assert(n < this.windowFrames, "only frames of the window are looked at");
    let run = this.first;
    let left = n;
    while (left >= this.lengths[run]!) left -= this.lengths[run++]!;
    return (this.starts[run]! + left) as FrameNo;
  }

  /** Takes `n` frames from the front of the window into `out`. */
  take(n: number, out: Int32Array): void {
    assert(n <= this.windowFrames, "a request needs no more frames than the window holds");
    for (let got = 0; got < n; ) {
      const run = this.first;
      const step = Math.min(n - got, this.lengths[run]!);
      const start = this.starts[run]!;
      for (let i = 0; i < step; i++) out[got + i] = start + i;
      got += step;
      this.lengths[run] = this.lengths[run]! - step;
      this.starts[run] = start + step;
      if (this.lengths[run] === 0) this.first++;
    }
    this.windowFrames -= n;
    if (this.first === this.end) this.first = this.end = 0;
  }

  /** Moves the next run of free frames, `most` at the most, from the map to the window's end. */
  private appendRun(most: number): void {
    const start = this.nextFree();
    let length = 0;
    while (length < most && start + length < this.count && this.isFree(start + length)) {
      this.map[(start + length) >>> 5]! &= ~(1 << ((start + length) & 31));
      length++;
    }
    this.cursor = start + length;
    this.freeInMap -= length;
    this.windowFrames += length;
    const last = this.end - 1;
    if (this.end > this.first && this.starts[last]! + this.lengths[last]! === start) {
      this.lengths[last] = this.lengths[last]! + length;
      return;
    }
    if (this.end === RUNS_MAX) this.slideDown();
    this.starts[this.end] = start;
    this.lengths[this.end++] = length;
  }

  private isFree(frame: number): boolean {
    return (this.map[frame >>> 5]! & (1 << (frame & 31))) !== 0;
  }

  /** The first free frame at or after the cursor, going round. */
  private nextFree(): number {
    if (this.cursor >= this.count) this.cursor = 0;
    let word = this.cursor >>> 5;
    let bits = this.map[word]! & (-1 << (this.cursor & 31));
    while (bits === 0) {
      word = word + 1 === this.map.length ? 0 : word + 1;
      bits = this.map[word]!;
    }
    return word * 32 + (31 - Math.clz32(bits & -bits));
  }

  private slideDown(): void {
    this.starts.copyWithin(0, this.first, this.end);
    this.lengths.copyWithin(0, this.first, this.end);
    this.end -= this.first;
    this.first = 0;
  }
}
