/**
 * Flushes under kills: every write is flushed, the engine dies again and again, and in the end the power goes. No kill loses a write that was
 * answered, the power none that was flushed.
 *
 *   HYPEGEAR_LOAD=10 npm test -- test/mount/flushed     2,000 kills
 */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { JOURNAL_ARGS, losePower, recovered } from "../power/recovery.ts";
import { Random } from "../sim/random.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { STAMPED_BYTES, startStamper } from "./clients.ts";
import { type FioReport, fio, worstMs } from "./fio.ts";
import { killEngines, statsOf } from "./kills.ts";
import { scaled } from "./scale.ts";
import { check } from "./stamps.ts";

const KILLS = scaled(200);
const PAUSE_MS_MAX = 250;
/** A safety net. */
const KILL_MS_MAX = 15_000;
/** Of fio's file: a pass lasts some kills. */
const MIB = 4;

test("engines killed under flushed writes lose nothing answered; then the power lost, nothing flushed is", {
  timeout: 120_000 + KILLS * KILL_MS_MAX,
}, async (context) => {
  need(context, "root", "/dev/fuse", "fio");
  const random = new Random(KILLS);
  const daemon = await mountHypegear({ args: ["--cache-size", "16M", ...JOURNAL_ARGS] });
  const logs = scratchDirectory("logs");
  const [killFirst] = await Promise.all(["a", "b"].map((name, i) => startFlushing(daemon, logs, name, i)));

  let over = false;
  const kills = killEngines(daemon, KILLS, () => random.below(PAUSE_MS_MAX)).finally(() => (over = true));
  const [reports] = await Promise.all([verified(join(daemon.mountpoint, "fio"), () => over), kills]);
  console.log(`${KILLS} kills, the longest wait of a client was ${worstMs(reports)} ms`);
  await killFirst!();
  const shown = check(readFileSync(join(daemon.mountpoint, "a")), readFileSync(join(logs, "a"), "utf8"));
  expect(shown.wrong.slice(0, 5)).toEqual([]);
  expect(shown.promised).toBeGreaterThan(KILLS);
  expect((await statsOf(daemon)).engine.restarts).toBe(KILLS);
  expect(daemon.log).not.toMatch(/hit a bug/);

  await losePower(daemon);
  expect(await recovered(daemon.backing, "twice", random)).toEqual([]);
  for (const name of ["a", "b"]) {
    const log = readFileSync(join(logs, name), "utf8");
    const left = check(readFileSync(join(daemon.backing, name)), log, "flushed");
    expect(left.wrong.slice(0, 5)).toEqual([]);
    expect(left.promised).toBeGreaterThan(KILLS);
  }
});

/** A client that flushes each of its writes; the result kills it. */
function startFlushing(
  { backing, mountpoint }: Daemon,
  logs: string,
  name: string,
  i: number,
): Promise<() => Promise<void>> {
  writeFileSync(join(backing, name), "");
  truncateSync(join(backing, name), STAMPED_BYTES);
  return startStamper(join(mountpoint, name), join(logs, name), i + 1, "fsync");
}

/** fio with an fsync after each write, again and again until it is `over`. */
async function verified(file: string, over: () => boolean): Promise<FioReport[]> {
  const reports: FioReport[] = [];
  do reports.push(...(await fio({ file, engine: "io_uring", direct: true, mib: MIB, fsync: 1 })));
  while (!over());
  return reports;
}
