import fc from "fast-check";
import { expect, test } from "vitest";
import { asBlock, asFrame, asInstant, asSlot } from "../../src/base/units.ts";
import { NONE } from "../../src/cache/frames.ts";
import { BlockIndex } from "../../src/cache/index.ts";
import { FrameList } from "../../src/cache/list.ts";
import { tableOf } from "./table.ts";

const FRAMES = 64;
const place = fc.record({
  slot: fc.nat(3),
  block: fc.oneof(fc.nat(20), fc.constantFrom(2 ** 32, 2 ** 40 + 1, 2 ** 50)),
  drop: fc.boolean(),
});

test("the index finds the newest frame of each block, and nothing that was removed", () => {
  fc.assert(
    fc.property(fc.array(place, { maxLength: FRAMES }), (places) => {
      const frames = tableOf(FRAMES);
      const index = new BlockIndex(frames);
      const model = new Map<string, number>();
      for (const [i, { slot, block, drop }] of places.entries()) {
        const frame = asFrame(i);
        const old = model.get(`${slot}:${block}`);
        frames.describe(frame, asSlot(slot), asBlock(block), asInstant(i), 0, 1);
        if (old !== undefined && drop) index.remove(asFrame(old));
        else if (old === undefined) index.insert(frame);
        else index.replace(asFrame(old), frame);
        if (old !== undefined && drop) model.delete(`${slot}:${block}`);
        else model.set(`${slot}:${block}`, i);
        for (const { slot: s, block: b } of places) {
          expect(index.find(asSlot(s), asBlock(b))).toBe(model.get(`${s}:${b}`) ?? NONE);
        }
      }
    }),
    { numRuns: 50 },
  );
});

test("a list keeps its order through append, prepend, replace and remove", () => {
  const list = new FrameList(tableOf(8));
  const order = (): number[] => {
    const found: number[] = [];
    for (let frame = list.head; frame !== NONE; frame = list.after(frame)) found.push(frame);
    return found;
  };
  list.append(asFrame(1));
  list.append(asFrame(2));
  list.prepend(asFrame(0));
  expect(order()).toEqual([0, 1, 2]);
  list.replace(asFrame(1), asFrame(5));
  list.replace(asFrame(0), asFrame(6));
  list.replace(asFrame(2), asFrame(7));
  expect(order()).toEqual([6, 5, 7]);
  expect([list.head, list.tail, list.count]).toEqual([6, 7, 3]);
  list.remove(asFrame(5));
  list.remove(asFrame(7));
  list.remove(asFrame(6));
  expect([list.head, list.tail, list.count]).toEqual([NONE, NONE, 0]);
});
