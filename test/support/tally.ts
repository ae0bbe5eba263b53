/** The counts of a run, handed from vitest's process to `suite.ts`. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";

export interface Tally {
  passed: number;
  failed: number;
  skipped: number;
}

const NOTHING: Tally = { passed: 0, failed: 0, skipped: 0 };

/** Below the project's folder, where vitest and npm run. */
const FILE = join(process.cwd(), ".cache", "tally.json");

export const readTally = (): Tally => (existsSync(FILE) ? (JSON.parse(readFileSync(FILE, "utf8")) as Tally) : NOTHING);

export const clearTally = (): void => rmSync(FILE, { force: true });

export function addToTally(more: Tally): void {
  mkdirSync(dirname(FILE), { recursive: true });
  writeFileSync(FILE, JSON.stringify(sumOf([readTally(), more])));
}

const sumOf = (tallies: readonly Tally[]): Tally =>
  tallies.reduce(
    (sum, tally) => ({
      passed: sum.passed + tally.passed,
      failed: sum.failed + tally.failed,
      skipped: sum.skipped + tally.skipped,
    }),
    NOTHING,
  );
