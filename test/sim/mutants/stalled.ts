/** Bugs of what is done while a device does not answer. */
import type { Mutant } from "./mutant.ts";

const ROWS: readonly Omit<Mutant, "histories">[] = [
  {
    bug: "what was chosen for a device beside another waits until it is chosen so again",
    file: "src/writeback/writer.ts",
    find: "for (const device of devices.all) if (!device.sweep.isEmpty && this.hasTurn(device)) return device.sweep;",
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
  {
    bug: "the tail passes what hangs though it could not be committed once more",
    file: "src/volume/checkpoint.ts",
    find: "else if (result < 0 || !isHome()) this.end(failure, []);",
    replace: "else if (failure === 0) this.end(failure, []);",
    seeds: 1000,
  },
];

export const STALLED: readonly Mutant[] = ROWS.map((row) => ({ ...row, histories: "stalls" }));
