import { expect, test } from "vitest";
import { CLEAN_FRAMES_MIN, DELAY_US_MAX } from "../../src/base/limits.ts";
import { Pressure } from "../../src/writeback/pressure.ts";

test("nobody waits below the start of the curve, and the wait grows without a cliff up to its bound", () => {
  const pressure = new Pressure(10_000, 0.8);
  expect(pressure.delayUs(5600, 1)).toBe(0);
  let before = 0;
  for (let dirty = 5601; dirty < 8000; dirty++) {
    const delay = pressure.delayUs(dirty, 1);
    expect(delay).toBeGreaterThan(before);
    before = delay;
  }
  expect(pressure.delayUs(7999, 256)).toBe(DELAY_US_MAX);
  expect(pressure.delayUs(8000, 256)).toBe(DELAY_US_MAX);
});

test("there is room up to the limit, and for anything when nothing is dirty", () => {
  const pressure = new Pressure(1000, 0.1);
  expect(pressure.hasRoom(99, 1)).toBe(true);
  expect(pressure.hasRoom(100, 1)).toBe(false);
  expect(pressure.hasRoom(0, 256)).toBe(true);
  expect(pressure.hasRoom(1, 256)).toBe(false);
});

test("frames for requests to land in are never dirty, however much the user allows", () => {
  expect(new Pressure(2048, 0.95).limit).toBe(2048 - CLEAN_FRAMES_MIN);
  expect(new Pressure(100_000, 0.95).limit).toBe(95_000);
});

test("the writer starts early enough for the write that waits", () => {
  const pressure = new Pressure(1000, 0.1);
  expect(pressure.start).toBe(50);
  pressure.demand = 80;
  expect(pressure.start).toBe(20);
  pressure.demand = 256;
  expect(pressure.start).toBe(0);
});

test("what is dirty for a crowding device does not count for others, who get half of what is beyond the limit", () => {
  const frames = 10_000;
  const pressure = new Pressure(frames, 0.8);
  const aside = (frames - 8000 - CLEAN_FRAMES_MIN) >> 1;
  expect(pressure.isMost(4000)).toBe(false);
  expect(pressure.isMost(4001)).toBe(true);
  pressure.crowding = 7900;
  pressure.others = 100;
  expect(pressure.hasRoom(8000, 100)).toBe(true);
  expect(pressure.hasRoom(8000, 101)).toBe(false);
  expect(pressure.hasRoom(8000, aside, true)).toBe(true);
  expect(pressure.hasRoom(8000, aside + 1, true)).toBe(false);
  expect(pressure.hasRoom(8000 + aside, 1)).toBe(false);
  expect(pressure.delayUs(8000, 1, true)).toBe(0);
  expect(pressure.delayUs(8000 + aside - 1, 256, true)).toBe(DELAY_US_MAX);
  expect(pressure.delayUs(8099, 256)).toBe(DELAY_US_MAX);
});
