/**
 * `npm test`: format, lint, types, unused code, then all tests. Everything runs even when something before it failed. The last
 * line is `N passed, N failed`, in which each of the four checks counts as one. With arguments, vitest alone, with them.
 */
import { spawnSync } from "node:child_process";
import { addToTally, clearTally, readTally } from "./tally.ts";

const checks: readonly (readonly string[])[] = [
  ["biome", "check", "."],
  ["oxlint", "src", "bench", "test"],
  ["tsc", "--noEmit", "-p", "tsconfig.json"],
  ["knip"],
];

/** True if the tool of node_modules succeeded; its output goes straight to this one. */
function runTool([name, ...args]: readonly string[]): boolean {
  const { status } = spawnSync(`node_modules/.bin/${name}`, args, { stdio: "inherit" });
  return status === 0;
}

function runChecks(): void {
  for (const check of checks) {
    const passed = runTool(check);
    addToTally({ passed: passed ? 1 : 0, failed: passed ? 0 : 1, skipped: 0 });
    console.log(
      `${passed ? "passed" : "failed"}: ${check.join(" ")}${passed ? "" : `; rerun: npx ${check.join(" ")}`}`,
    );
  }
}

/** Vitest's process adds its counts itself; a crash of vitest that it did not count is one failure. */
function runTests(args: readonly string[]): void {
  const before = readTally().failed;
  const passed = runTool(["vitest", "run", ...args]);
  if (!passed && readTally().failed === before) addToTally({ passed: 0, failed: 1, skipped: 0 });
}

const args = process.argv.slice(2);
clearTally();
if (args.length === 0) runChecks();
runTests(args);
const { passed, failed, skipped } = readTally();
console.log(`${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`);
process.exitCode = failed === 0 ? 0 : 1;
