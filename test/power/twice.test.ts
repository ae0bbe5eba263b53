/**
 * Power cut again while hypegear recovers from a power cut (fault 7): the recovery runs on a logged device too, and in every state that a cut can
 * leave then, another recovery keeps every promise.
 */
import { mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Random } from "../sim/random.ts";
import { need } from "../support/need.ts";
import { readLog } from "./log.ts";
import { findWrong } from "./oracle.ts";
import { MOUNT_ARGS, type Recording, record, type Script, startWorkload } from "./recording.ts";
import { recovered } from "./recovery.ts";
import { Replayer, type State, stateOf } from "./replay.ts";
import { LoggedFilesystem, memoryDirectory, RIG_NEEDS } from "./rig.ts";
import { judgeDevices, mounted, recordingOf, SEED, STATES } from "./states.ts";

/** First cuts, and of each so many second ones. */
const FIRST = Math.ceil(STATES / 35);
const SECOND = 8;
const STEPS = 200;
const STATE_MS_MAX = 8000;

const SCRIPT: Script = {
  args: MOUNT_ARGS,
  start: (daemon, log, notes) => startWorkload("workload", daemon.mountpoint, log, notes, SEED, STEPS),
  kills: 1,
  killAfterMs: 300,
};

test.for(["ext4", "xfs"] as const)(
  "%s: whatever a power cut leaves during recovery, every promise is kept",
  { timeout: 120_000 + FIRST * (SECOND + 2) * STATE_MS_MAX },
  async (kind, context) => {
    need(context, ...RIG_NEEDS);
    const place = await memoryDirectory();
    const recording = await recordingOf(kind, () => record(kind, SCRIPT, place));
    const judging = { place, count: FIRST, file: "twice.test.ts", test: `${kind}: whatever` };
    const wrong = await judgeDevices(recording, judging, (device, state) => cutAgain(recording, device, state, place));
    expect(wrong).toEqual([]);
  },
);

/** Recovers `device`, which was cut in `state`, and judges what second cuts leave meanwhile. */
async function cutAgain(
  { kind, notes, notesFile }: Recording,
  device: string,
  { number, flushed }: State,
  place: string,
): Promise<string[]> {
  const files = join(place, `second${number}`);
  mkdirSync(files);
  const filesystem = await LoggedFilesystem.make(device, kind, files);
  const wrong = await recovered(join(filesystem.directory, "images"), "once", new Random(number));
  await filesystem.stop();
  const entries = readLog(filesystem.log);
  const recording = { kind, base: device, log: filesystem.log, notesFile, entries, notes };
  const replayer = new Replayer(recording, SEED, files);
  for (let i = 0; i < SECOND; i++) {
    const state = stateOf(entries, number, i, 0);
    const again = await replayer.build(state);
    const found = await mounted(again, kind, files, async (images) => [
      ...(await recovered(images, "once", new Random(number))),
      ...findWrong(notes, images, flushed),
    ]);
    wrong.push(...found.map((what) => `${state.kind} ${i}, ${state.cut} of ${entries.length} entries: ${what}`));
    rmSync(again);
  }
  replayer.close();
  rmSync(files, { recursive: true });
  return wrong;
}
