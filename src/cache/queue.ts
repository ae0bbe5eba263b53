/** Frames in the order in which they were added; grows as it must. */
import type { FrameNo } from "../base/units.ts";

const FIRST_CAPACITY = 16;

export class FrameQueue {
  count = 0;
  isOverfull = false;
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
    this.isOverfull = false;
    if (this.frames.length > 1024 * FIRST_CAPACITY) this.frames = new Int32Array(FIRST_CAPACITY);
  }

  /** Keeps those of which `isKept` is true; the last is asked about first. */
  retain(isKept: (frame: FrameNo, index: number) => boolean): void {
    let at = this.count;
    for (let i = this.count - 1; i >= 0; i--) if (isKept(this.at(i), i)) this.frames[--at] = this.at(i);
    this.frames.copyWithin(0, at, this.count);
    this.count -= at;
  }

  /** Lets go of all frames: there are so many that whoever wants them finds them elsewhere. Until `clear`. */
  overflow(): void {
    this.clear();
    this.isOverfull = true;
  }
}
