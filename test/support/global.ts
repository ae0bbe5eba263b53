/** Runs once around all tests, in vitest's main process. */
import { takeLeaks } from "./leaks.ts";
import { addToTally } from "./tally.ts";

/** Fails the run on what the tests left behind. Vitest alone prints an error of a teardown and still ends with 0. */
export async function teardown(): Promise<void> {
  const leaks = await takeLeaks();
  if (leaks.length === 0) return;
  addToTally({ passed: 0, failed: leaks.length, skipped: 0 });
  process.exitCode = 1;
  console.error(`the tests left behind, and it was removed:\n  ${leaks.join("\n  ")}`);
}
