/** Frames in the order in which they were added; grows as it must. */
import type { FrameNo } from "../base/units.ts";

const FIRST_CAPACITY = 16;

export class FrameQueue {
  count = 0;
  private frames = new Int32Array(FIRST_CAPACITY);

  push(frame: FrameNo): void {
    if (this.count === this.frames.length) {
      const wider = new Int32Array(this.frames.length * 2);
      wider.set(this.frames);
      this.frames = wider;
    }
    this.frames[this.count++] = frame;
  }

  at(index: number): FrameNo {
    return this.frames[index] as FrameNo;
  }

  clear(): void {
    this.count = 0;
    if (this.frames.length > 1024 * FIRST_CAPACITY) this.frames = new Int32Array(FIRST_CAPACITY);
  }

  /** Keeps only the frames that `keeps` says to keep. */
  filter(keeps: (frame: FrameNo) => boolean): void {
    let kept = 0;
    for (let i = 0; i < this.count; i++) {
      const frame = this.frames[i] as FrameNo;
      if (keeps(frame)) this.frames[kept++] = frame;
    }
    this.count = kept;
  }
}
