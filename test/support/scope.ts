/** Who cleans up, and when: a resource takes a `Scope` and hands it its clean-up. */
import { afterAll, onTestFinished } from "vitest";

export type Scope = (cleanup: () => unknown) => void;

/** Cleans up when the running test ends, also when it fails; the newest first. The default of every helper. */
export const testScope: Scope = (cleanup) => {
  onTestFinished(async () => {
    await cleanup();
  });
};

/** For what several tests share: call it in a describe block (or a file), it cleans up after the block's last test. */
export function blockScope(): Scope {
  const cleanups: (() => unknown)[] = [];
  afterAll(async () => {
    const errors: unknown[] = [];
    while (cleanups.length > 0) await attempt(cleanups.pop()!, errors);
    if (errors.length > 0) throw new AggregateError(errors, "clean-up failed");
  });
  return (cleanup) => void cleanups.push(cleanup);
}

/** One clean-up that fails must not keep the others from running. */
async function attempt(cleanup: () => unknown, errors: unknown[]): Promise<void> {
  try {
    await cleanup();
  } catch (error) {
    errors.push(error);
  }
}
