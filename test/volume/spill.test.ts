import { afterAll, expect, test } from "vitest";
import { SPILL_AFTER_US } from "../../src/base/limits.ts";
import { Timers } from "../../src/base/timers.ts";
import { asFrame, BLOCK_BYTES } from "../../src/base/units.ts";
import { FrameAllocator } from "../../src/cache/allocator.ts";
import { Spill } from "../../src/volume/spill.ts";
import { SimSlab } from "../sim/engine.ts";

const { slab } = new SimSlab();
afterAll(() => slab.close());

/** Frames 0 to `free` - 1 are free, all others in use. */
function spillOf(free: number): { spill: Spill; allocator: FrameAllocator; put: (...frames: Int32Array[]) => void } {
  const allocator = new FrameAllocator(slab.frames, slab.framesAddress);
  for (let frame = 0; frame < free; frame++) allocator.release(asFrame(frame));
  let now = 0;
  const spill = new Spill({ slab, allocator, timers: new Timers(), nowUs: () => now });
  /** Has `frames` taken: no request could be read for as long as it takes. */
  const put = (...frames: Int32Array[]): void => {
    for (const us of [0, SPILL_AFTER_US]) {
      now += us;
      spill.relieve(waiting(...frames), () => false);
    }
  };
  return { spill, allocator, put };
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
  const { spill, allocator, put } = spillOf(10);
  const payload = filled(100, 3, 7);
  put(payload);
  expect([spill.has(payload), allocator.free]).toEqual([true, 13]);
  filled(100, 3, 200); // somebody else's by now
  expect(spill.give(payload, [])).toBe(true);
  expect([...payload]).toEqual([0, 1, 2]);
  expect(firstBytes(payload)).toEqual([7, 8, 9]);
  expect([spill.has(payload), allocator.free]).toEqual([false, 10]);
});

test("with too few frames free, it gets those of others that wait, and theirs are put aside; or none at all", () => {
  const { spill, allocator, put } = spillOf(0);
  const [payload, first, second] = [filled(100, 3, 7), filled(110, 2, 20), filled(120, 2, 30)];
  put(payload);
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
  const { spill, put } = spillOf(10);
  const payload = filled(100, 3, 7);
  put(payload);
  expect(spill.drop(payload)).toBeDefined();
  expect(spill.has(payload)).toBe(false);
  expect(spill.drop(payload)).toBeUndefined();
});

test("it is patient, and takes what others wait for first", () => {
  const { allocator } = spillOf(0);
  const now = { us: 0 };
  const patient = new Spill({ slab, allocator, timers: new Timers(), nowUs: () => now.us });
  const [brisk, slow] = [filled(100, 257, 1), filled(400, 257, 2)];
  const relieve = (): void => patient.relieve(waiting(brisk, slow), ({ frames }) => frames === brisk);
  relieve();
  now.us = SPILL_AFTER_US - 1;
  relieve();
  expect(patient.has(slow)).toBe(false);
  now.us = SPILL_AFTER_US;
  relieve();
  expect([brisk, slow].map((one) => patient.has(one))).toEqual([false, true]);
});
