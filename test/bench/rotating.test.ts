import { describe, expect, test } from "vitest";
import {
  gainOf,
  journalAppends,
  measureRotating,
  randomWrites,
  WANTED_GAIN,
  WANTED_IMAGE_GIB,
} from "../../bench/rotating.ts";
import { elevatorOrder, RotatingDisk } from "../../bench/support/rotating-disk.ts";

const TURN_MS = 60_000 / 7200;
const CYLINDER_BYTES = 10_000_000;

function timeOf(...writes: [offset: number, length: number][]): number {
  const disk = new RotatingDisk();
  disk.writeAll(writes.map(([offset, length]) => ({ offset, length })));
  return disk.ms;
}

describe("rotating disk", () => {
  test("a write that begins where the last one ended streams on", () => {
    expect(timeOf([0, 75_000], [75_000, 75_000])).toBeCloseTo(1, 9);
  });

  test("the same place again waits for a whole turn", () => {
    expect(timeOf([0, 4096], [0, 4096])).toBeCloseTo(TURN_MS + 4096 / 150_000, 9);
  });

  test("the arm's way is paid when it moves, and hidden when the platter makes it wait longer", () => {
    const half = CYLINDER_BYTES + 625_000;
    expect(timeOf([half, 4096])).toBeCloseTo(TURN_MS / 2 + 4096 / 150_000, 9);
    const shortlyAfter = CYLINDER_BYTES + 15_000;
    expect(timeOf([shortlyAfter, 4096])).toBeCloseTo(TURN_MS + 0.1 + 4096 / 150_000, 9);
  });
});

describe("elevator", () => {
  test("one pass upwards from the head and then from the start, rewrites once, neighbours joined", () => {
    const writes = [5, 2, 9, 3, 2, 1].map((block) => ({ offset: block * 4096, length: 4096 }));
    expect(elevatorOrder(writes, 3 * 4096)).toEqual([
      { offset: 3 * 4096, length: 4096 },
      { offset: 5 * 4096, length: 4096 },
      { offset: 9 * 4096, length: 4096 },
      { offset: 1 * 4096, length: 8192 },
    ]);
  });
});

describe("the journal on a rotating disk", () => {
  test("takes a full ring of flushed random writes home in a small part of the time of writing in place", () => {
    const gains = measureRotating(1);
    const wanted = gains.find(({ imageGiB }) => imageGiB === WANTED_IMAGE_GIB)!;
    expect(wanted.inPlaceMs / wanted.homeMs).toBeGreaterThan(WANTED_GAIN);
    expect(measureRotating(1)).toEqual(gains);
  });

  test("gains by the order of the way home, not by the append alone", () => {
    const writes = randomWrites(2 ** 34, 1);
    const { inPlaceMs, homeMs } = gainOf(writes, journalAppends(writes), () => writes);
    expect(homeMs).toBeGreaterThan(inPlaceMs);
  });
});
