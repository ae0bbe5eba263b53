/** Waiting for something to become true. */
import { setTimeout as sleep } from "node:timers/promises";

const STEP_MS = 20;

/**
 * Resolves with the first value of `probe` that is neither false, null nor undefined; rejects after `timeout` milliseconds,
 * saying what was waited for. The limit is a safety net, no measurement: generous.
 */
export async function waitFor<T>(
  what: string,
  probe: () => T | Promise<T>,
  timeout = 30_000,
): Promise<Exclude<T, false | null | undefined>> {
  for (let waited = 0; waited < timeout; waited += STEP_MS) {
    const value = await probe();
    if (value !== false && value !== null && value !== undefined) return value as Exclude<T, false | null | undefined>;
    await sleep(STEP_MS);
  }
  throw new Error(`waited ${timeout} ms for ${what}`);
}
