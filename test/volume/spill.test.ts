import { afterAll, expect, test } from "vitest";
import { asFrame, BLOCK_BYTES } from "../../src/base/units.ts";
import { FrameAllocator } from "../../src/cache/allocator.ts";
import { Spill } from "../../src/volume/spill.ts";
import { SimSlab } from "../sim/engine.ts";

const { slab } = new SimSlab();
afterAll(() => slab.close());

/** Frames 0 to `free` - 1 are free, all others in use. */
function allocatorOf(free: number): FrameAllocator {
  const allocator = new FrameAllocator(slab.frames, slab.framesAddress);
  for (let frame = 0; frame < free; frame++) allocator.release(asFrame(frame));
  return allocator;
}

/** `count` frames from `first` on, the bytes of each its `fill` plus its place. */
function filled(first: number, count: number, fill: number): Int32Array {
  return Int32Array.from({ length: count }, (_, i) => {
    const frame = asFrame(first + i);
    const at = slab.frameIndex(frame);
    slab.frameView(frame).fill(fill + i, at, at + BLOCK_BYTES);
    return frame;
  });
}

const waiting = (...all: Int32Array[]): { frames: Int32Array }[] => all.map((frames) => ({ frames }));

const firstBytes = (frames: Int32Array): number[] =>
  Array.from(frames, (frame) => slab.frameView(asFrame(frame))[slab.frameIndex(asFrame(frame))]!);

test("a payload comes back as it was, in other frames", () => {
  const allocator = allocatorOf(10);
  const spill = new Spill(slab, allocator);
  const payload = filled(100, 3, 7);
  spill.take(payload);
  expect([spill.has(payload), allocator.free]).toEqual([true, 13]);
  filled(100, 3, 200); // somebody else's by now
  expect(spill.give(payload, [])).toBe(true);
  expect([...payload]).toEqual([0, 1, 2]);
  expect(firstBytes(payload)).toEqual([7, 8, 9]);
  expect([spill.has(payload), allocator.free]).toEqual([false, 10]);
});

test("with too few frames free, it gets those of others that wait, and theirs are put aside; or none at all", () => {
  const allocator = allocatorOf(0);
  const spill = new Spill(slab, allocator);
  const [payload, first, second] = [filled(100, 3, 7), filled(110, 2, 20), filled(120, 2, 30)];
  spill.take(payload);
  const gone = new Int32Array(3);
  allocator.ready();
  allocator.take(3, gone);
  expect(spill.give(payload, waiting(payload, first))).toBe(false);
  expect([payload, first].map((one) => spill.has(one))).toEqual([true, true]);
  expect(spill.give(payload, waiting(payload, first, second))).toBe(true);
  expect(firstBytes(payload)).toEqual([7, 8, 9]);
  expect(spill.has(second)).toBe(true);
  for (const frame of gone) allocator.release(asFrame(frame));
  expect([spill.give(first, []), spill.give(second, [])]).toEqual([true, true]);
  expect([...firstBytes(first), ...firstBytes(second)]).toEqual([20, 21, 30, 31]);
});

test("a payload that nobody wants any more takes no room", () => {
  const spill = new Spill(slab, allocatorOf(10));
  const payload = filled(100, 3, 7);
  spill.take(payload);
  expect(spill.drop(payload)).toBeDefined();
  expect(spill.has(payload)).toBe(false);
  expect(spill.drop(payload)).toBeUndefined();
});
