import { FrameTable } from "../../src/cache/frames.ts";
import { FRAME_ROW_BYTES } from "../../src/cache/slab.ts";

/** A frame table of its own memory. */
export const tableOf = (frames: number): FrameTable =>
  new FrameTable(frames, new ArrayBuffer(frames * FRAME_ROW_BYTES));
