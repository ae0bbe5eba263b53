import { expect, test } from "vitest";
import { asBlock, asFrame, asInstant, asSlot } from "../../src/base/units.ts";
import { Sweep } from "../../src/writeback/sweep.ts";
import { tableOf } from "../cache/table.ts";

test("a sweep goes by image, then by block, and ends", () => {
  const frames = tableOf(4);
  const places = [
    [1, 5],
    [0, 2 ** 40],
    [1, 3],
    [0, 7],
  ] as const;
  for (const [i, [slot, block]] of places.entries()) {
    frames.describe(asFrame(i), asSlot(slot), asBlock(block), asInstant(i), 0, 4096);
  }
  const sweep = new Sweep();
  expect(sweep.isEmpty).toBe(true);
  sweep.load(frames, Int32Array.of(0, 1, 2, 3), 4);
  const seen: [number, number][] = [];
  for (; !sweep.isEmpty; sweep.advance()) seen.push([sweep.slot, sweep.block]);
  expect(seen).toEqual([
    [0, 7],
    [0, 2 ** 40],
    [1, 3],
    [1, 5],
  ]);
});
