import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { Counter, Counters, HISTOGRAM_SLOTS, HistogramSlot } from "../../src/stats/counters.ts";

const fresh = (): Counters => new Counters(new Float64Array(1024));

describe("counters", () => {
  test("no two counters share a slot, and none lies in a histogram", () => {
    const slots = Object.values(Counter);
    expect(new Set(slots).size).toBe(slots.length);
    expect(Math.max(...slots)).toBeLessThan(Math.min(...Object.values(HistogramSlot)));
  });

  test("histograms do not overlap and fit 1,024 slots", () => {
    const starts = Object.values(HistogramSlot).sort((a, b) => a - b);
    starts.reduce((before, start) => {
      expect(start - before).toBeGreaterThanOrEqual(HISTOGRAM_SLOTS);
      return start;
    });
    expect(starts.at(-1)! + HISTOGRAM_SLOTS).toBeLessThanOrEqual(1024);
  });

  test("a quantile of nothing is 0", () => {
    expect(fresh().quantile(HistogramSlot.read, 0.5)).toBe(0);
  });

  test("a quantile is the true one or at most 12.5 % above it, and never above the maximum", () => {
    const values = fc.array(fc.double({ min: 1, max: 2 ** 31 - 1, noNaN: true }), { minLength: 1, maxLength: 200 });
    fc.assert(
      fc.property(values, fc.double({ min: 0.01, max: 1, noNaN: true }), (sample, q) => {
        const counters = fresh();
        for (const us of sample) counters.observe(HistogramSlot.write, us);
        const sorted = sample.toSorted((a, b) => a - b);
        const truth = sorted[Math.ceil(q * sample.length) - 1]!;
        const found = counters.quantile(HistogramSlot.write, q);
        expect(found).toBeGreaterThanOrEqual(truth);
        expect(found).toBeLessThanOrEqual(Math.min(truth * 1.125, sorted.at(-1)!));
        expect(counters.max(HistogramSlot.write)).toBe(sorted.at(-1));
      }),
    );
  });

  test("values below 1 us and beyond 2^31 us count in the first and the last bucket, their maximum stays exact", () => {
    const counters = fresh();
    for (const us of [0, 0.25, 2 ** 40]) counters.observe(HistogramSlot.flush, us);
    expect(counters.countBelow(HistogramSlot.flush, 1)).toBe(2);
    expect(counters.countBelow(HistogramSlot.flush, Number.POSITIVE_INFINITY)).toBe(3);
    expect(counters.max(HistogramSlot.flush)).toBe(2 ** 40);
    expect(counters.sum(HistogramSlot.flush)).toBe(2 ** 40 + 0.25);
    expect(counters.at.filter((value) => value !== 0)).toHaveLength(4);
  });

  test("what is counted below a power of two is exactly that", () => {
    const counters = fresh();
    for (const us of [1, 1.99, 2, 3.9, 4, 7.99, 8]) counters.observe(HistogramSlot.read, us);
    expect([1, 2, 3, 4].map((octaves) => counters.countBelow(HistogramSlot.read, octaves))).toEqual([2, 4, 6, 7]);
  });

  test("observing one histogram leaves the others alone", () => {
    const counters = fresh();
    counters.observe(HistogramSlot.read, 2 ** 33);
    expect(counters.countBelow(HistogramSlot.write, 99) + counters.countBelow(HistogramSlot.flush, 99)).toBe(0);
    expect(counters.max(HistogramSlot.write) + counters.sum(HistogramSlot.flush)).toBe(0);
  });
});
