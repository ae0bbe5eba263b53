/**
 * Cut power under `--durability ordered` while files are made, renamed and removed all the time: whatever of these names is on the
 * disk then, recovery needs nobody's help. What it must bring back is `ordered.test.ts`'s matter.
 */
import { expect, test } from "vitest";
import { Random } from "../sim/random.ts";
import { need } from "../support/need.ts";
import { MOUNT_ARGS, record, type Script, startWorkload } from "./recording.ts";
import { recovered } from "./recovery.ts";
import { memoryDirectory, RIG_NEEDS } from "./rig.ts";
import { judgeStates, recordingOf, SEED, STATES } from "./states.ts";

const STEPS = 250;
const STATE_MS_MAX = 8000;
const SHARE_OF_STATES = 1 / 3;

const SCRIPT: Script = {
  args: [...MOUNT_ARGS, "--durability", "ordered", "--loss-window", "100ms"],
  start: (daemon, log, notes) => startWorkload("workload", daemon.mountpoint, log, notes, SEED, STEPS),
  kills: 1,
  killAfterMs: 500,
};

test.for(["ext4", "xfs"] as const)(
  "%s: recovery refuses nothing because of files that were made or removed just before the power went",
  { timeout: 120_000 + STATES * STATE_MS_MAX },
  async (kind, context) => {
    need(context, ...RIG_NEEDS);
    const place = await memoryDirectory();
    const recording = await recordingOf(kind, () => record(kind, SCRIPT, place));
    const count = Math.ceil(STATES * SHARE_OF_STATES);
    const judging = { place, count, file: "made.test.ts", test: `${kind}: recovery` };
    expect(
      await judgeStates(recording, judging, (images, { number }) => recovered(images, "once", new Random(number))),
    ).toEqual([]);
    expect(recording.notes.names.size).toBeGreaterThan(6);
  },
);
