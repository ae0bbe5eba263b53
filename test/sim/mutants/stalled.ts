/** Bugs of what is done while a device does not answer. */
import type { Mutant } from "./mutant.ts";

const ROWS: readonly Omit<Mutant, "histories">[] = [
  {
    bug: "blocks that were passed over while a device was stalled are never listed again",
    file: "src/writeback/writer.ts",
    find: "home.device.hasPassedOver ||= home.device.isFull;",
    replace: "",
    seeds: 1000,
  },
  {
    bug: "home writes that were begun before their device was stalled are counted as others' when they end",
    file: "src/writeback/devices.ts",
    find: "this.stalledWrites += isStalled ? device.writes : -device.writes;",
    replace: "",
    seeds: 1000,
  },
  {
    bug: "a payload that was put aside is not in its new frames",
    file: "src/volume/spill.ts",
    find: "this.slab.frameView(frame).set(bytes, this.slab.frameIndex(frame));",
    replace: "",
    seeds: 1000,
  },
  {
    bug: "the frames of a payload that was put aside are not freed",
    file: "src/volume/spill.ts",
    find: "this.allocator.release(frame);",
    replace: "",
    seeds: 1000,
  },
];

export const STALLED: readonly Mutant[] = ROWS.map((row) => ({ ...row, histories: "stalls" }));
