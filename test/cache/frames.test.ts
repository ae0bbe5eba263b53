import fc from "fast-check";
import { expect, test } from "vitest";
import { asBlock, asFrame, asInstant, asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import type { FrameTable } from "../../src/cache/frames.ts";
import { tableOf } from "./table.ts";

const OLD = asFrame(0);
const NEW = asFrame(1);

/** Byte ranges of a block, on sectors or anywhere. */
const range = fc
  .tuple(fc.constantFrom(512, 512, 1), fc.nat(BLOCK_BYTES), fc.nat(BLOCK_BYTES))
  .map(([unit, a, b]) => [Math.floor(Math.min(a, b) / unit) * unit, Math.ceil(Math.max(a, b) / unit) * unit] as const)
  .filter(([low, high]) => low < high);

function validBytes(frames: FrameTable, frame: typeof OLD): boolean[] {
  const valid = Array.from({ length: BLOCK_BYTES }, () => false);
  frames.forValid(frame, (low, high) => valid.fill(true, low, high));
  return valid;
}

test("joined ranges are valid exactly where one of them is", () => {
  fc.assert(
    fc.property(fc.array(range, { minLength: 1, maxLength: 6 }), (ranges) => {
      const frames = tableOf(2);
      const model = Array.from({ length: BLOCK_BYTES }, () => false);
      for (const [i, [low, high]] of ranges.entries()) {
        frames.describe(NEW, asSlot(0), asBlock(0), asInstant(i), low, high);
        if (i > 0) {
          if (!frames.canJoin(OLD, low, high)) continue;
          frames.setJoined(NEW, OLD, low, high);
        }
        model.fill(true, low, high);
        frames.copyValidity(OLD, NEW);
        expect(validBytes(frames, OLD)).toEqual(model);
        expect(frames.isFull(OLD)).toBe(model.every(Boolean));
      }
    }),
  );
});

test("whole sectors can always be joined to whole sectors, and touching ranges to each other", () => {
  const frames = tableOf(1);
  frames.describe(OLD, asSlot(0), asBlock(0), asInstant(0), 512, 1024);
  expect(frames.canJoin(OLD, 3072, 3584)).toBe(true);
  frames.setRange(OLD, 100, 200);
  expect(frames.canJoin(OLD, 200, 210)).toBe(true);
  expect(frames.canJoin(OLD, 201, 210)).toBe(false);
  expect(frames.canJoin(OLD, 512, 1024)).toBe(false);
});

test("a frame overlaps a range if a valid byte lies in it", () => {
  fc.assert(
    fc.property(range, range, ([low, high], [from, to]) => {
      const frames = tableOf(1);
      frames.describe(OLD, asSlot(0), asBlock(0), asInstant(0), low, high);
      expect(frames.overlaps(OLD, from, to)).toBe(validBytes(frames, OLD).slice(from, to).some(Boolean));
    }),
  );
});
