import { expect, it } from "vitest";
import { CpuTime } from "../../src/engine/cpu-time.ts";
import { Counter, Counters } from "../../src/stats/counters.ts";

it("counts on from what earlier engines have used, ten times a second at most", () => {
  const counters = new Counters(new Float64Array(1024));
  const shown = (): number => counters.at[Counter.engineCpuUs]!;
  const first = new CpuTime(counters);
  first.pass(1_000_000);
  const noted = shown();
  expect(noted).toBeGreaterThan(0);
  while (process.cpuUsage().user + process.cpuUsage().system <= noted);
  first.pass(1_099_999);
  expect(shown()).toBe(noted);
  first.pass(1_100_000);
  expect(shown()).toBeGreaterThan(noted);
  const before = shown();
  new CpuTime(counters).note();
  expect(shown()).toBeGreaterThanOrEqual(2 * before);
});
