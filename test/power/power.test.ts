/**
 * Cut power (faults 3 to 7): a workload runs on hypegear on a real filesystem on a logged device; every state in which a power
 * cut can leave that device is a filesystem that mounts, is recovered, and then keeps what hypegear promised.
 *
 *   HYPEGEAR_POWER_STATES=5000 npm test -- test/power     more states; HYPEGEAR_POWER_SEED=7: of another workload
 */
import { expect, test } from "vitest";
import { Random } from "../sim/random.ts";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import type { Notes } from "./notes.ts";
import { findWrong } from "./oracle.ts";
import { MOUNT_ARGS, type Recording, record, type Script, startWorkload } from "./recording.ts";
import { bootAnew, type Manner, recovered } from "./recovery.ts";
import type { State } from "./replay.ts";
import { memoryDirectory, RIG_NEEDS } from "./rig.ts";
import { judgeStates, recordingOf, SEED, STATES } from "./states.ts";

const STEPS = 400;
const STATE_MS_MAX = 8000;
const KILL_AFTER_MS = 700;

/** States that hypegear mounts at once, and so recovers itself: every so many. */
const REMOUNT_EACH = 60;
/** How the others are recovered, by their number; no multiple of the kinds of states, so that each kind meets each manner. */
const MANNERS = ["once", "once", "twice", "once", "interrupted"] as const satisfies Manner[];

const SCRIPT: Script = {
  args: MOUNT_ARGS,
  start: (daemon, log, notes) => startWorkload("workload", daemon.mountpoint, log, notes, SEED, STEPS),
  kills: 1,
  killAfterMs: KILL_AFTER_MS,
};

test.for(["ext4", "xfs"] as const)(
  "%s: whatever a power cut leaves, every promise is kept",
  { timeout: 120_000 + STATES * STATE_MS_MAX },
  async (kind, context) => {
    need(context, ...RIG_NEEDS);
    const place = await memoryDirectory();
    const recording = await recordingOf(kind, () => record(kind, SCRIPT, place));
    const judging = { place, count: STATES, file: "power.test.ts", test: `${kind}: whatever` };
    const wrong = await judgeStates(recording, judging, (images, state) => judge(recording, images, state));
    expect(wrong).toEqual([]);
    expect(recording.notes.promises).toBeGreaterThan(STEPS / 4);
  },
);

async function judge({ notes }: Recording, images: string, { number, flushed }: State): Promise<string[]> {
  if (number % REMOUNT_EACH === 1 && notes.promisedNames(flushed) > 0)
    return wrongThroughHypegear(notes, images, flushed);
  const manner = MANNERS[number % MANNERS.length]!;
  const wrong = await recovered(images, manner, new Random(number));
  return [...wrong, ...findWrong(notes, images, flushed)].map((what) => `recovered ${manner}: ${what}`);
}

/** The first mount after a cut: it comes up without help, shows what was promised, and leaves it so. */
async function wrongThroughHypegear(notes: Notes, images: string, flushed: number): Promise<string[]> {
  bootAnew(images);
  const daemon = await mountHypegear({ backing: images, args: MOUNT_ARGS });
  const wrong = findWrong(notes, daemon.mountpoint, flushed);
  const { code, stderr } = await daemon.umount();
  if (code !== 0) wrong.push(`umount after the cut: exit code ${code}: ${stderr}`);
  return [...wrong, ...findWrong(notes, images, flushed)].map((what) => `through hypegear: ${what}`);
}
