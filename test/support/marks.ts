/**
 * What tells this run's things from those of another run on the same host: every scratch path lies below `RUN_ROOT`, every
 * process started through `support/` carries `MARK` in its environment.
 */
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Set by vitest.config.ts, the same in the main process and in the workers. */
const run = process.env["HYPEGEAR_TEST_RUN"] ?? "none";

/** Above all scratch directories of this run. */
export const RUN_ROOT = join(tmpdir(), `hypegear-test-${run}`);

/** Environment of every command that a test starts. */
export const MARK = { HYPEGEAR_TEST_CHILD: run } as const;

/** Paths of slabs that daemons of this run made, one a line. */
export const SLABS_FILE = join(RUN_ROOT, "slabs");
