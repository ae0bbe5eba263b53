/**
 * Blocks waiting to go home, in the order of one pass of the elevator: by image, then by block. It names blocks, not frames:
 * what a block holds is looked up when its turn comes.
 */
import { type BlockNo, type FrameNo, type InodeSlot } from "../base/units.ts";
import type { FrameTable } from "../cache/frames.ts";

export class Sweep {
  private slots: Uint32Array = new Uint32Array(0);
  private blocks: Float64Array = new Float64Array(0);
  private at = 0;

  /** Takes in the blocks of the first `count` of `chosen`, sorted. Only when empty. */
  load(frames: FrameTable, chosen: Int32Array, count: number): void {
    const order = Array.from(chosen.subarray(0, count) as Iterable<FrameNo>).sort(
      (a, b) => frames.image(a) - frames.image(b) || frames.block(a) - frames.block(b),
    );
    this.slots = Uint32Array.from(order, (frame) => frames.image(frame));
    this.blocks = Float64Array.from(order, (frame) => frames.block(frame));
    this.at = 0;
  }

  get isEmpty(): boolean {
    return this.at >= this.blocks.length;
  }

  get slot(): InodeSlot {
    return this.slots[this.at] as InodeSlot;
  }

  get block(): BlockNo {
    return this.blocks[this.at] as BlockNo;
  }

  advance(): void {
    this.at++;
  }

  clear(): void {
    this.at = this.blocks.length;
  }
}
