import { expect, test } from "vitest";
import { findingOf, tell } from "./run.ts";

const SEEDS = 2000;

/** Seeds that once found a bug, with what it was; more of them are hit by the first 2,000 anyway. */
const FOUND = new Map([
  [9, "a retry that came due slept on, because timers ran after the pump"],
  [21, "an age limit kept the loop spinning while the block was on its way"],
  [51, "who waited for an image to be clean was not told until something else took it home"],
  [74, "blocks written home while a device flush failed counted as safe"],
  [82, "a write larger than the room that the writer makes waited for ever"],
  [380, "a short home read completed a block with zeros"],
]);

function check(seed: number): void {
  const finding = findingOf(seed);
  if (finding === undefined) return;
  expect.fail(`${tell(seed)}\nseed ${seed}: ${finding}\nrerun: npm run sim -- --seeds 1 --from ${seed}`);
}

test.each([...FOUND])("seed %i stays good: %s", (seed) => check(seed));

test(`${SEEDS} histories from seeds, with faults, kills and power cuts, keep every promise`, {
  timeout: 300_000,
}, () => {
  for (let seed = 1; seed <= SEEDS; seed++) check(seed);
});
