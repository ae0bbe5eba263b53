/**
 * Cut power under `--durability ordered`: after it, all images show one same instant, sector by sector, and no older one than the loss
 * window allows. A client writes to two images in turns, so that two instants never look alike, and beside that to a third.
 *
 *   HYPEGEAR_POWER_STATES=5000 npm test -- test/power/ordered     more states; HYPEGEAR_POWER_SEED=7: of another run
 */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Random } from "../sim/random.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { Answers } from "./answers.ts";
import { type History, instantOf, lockSteps } from "./instant.ts";
import { LOCKSTEP_SECTORS, makeGrowingImages, makeLockstepImages } from "./lockstep-images.ts";
import { MOUNT_ARGS, type Recording, record, type Script, startWorkload } from "./recording.ts";
import { bootAnew, JOURNAL_ARGS, type Manner, recovered } from "./recovery.ts";
import type { State } from "./replay.ts";
import { memoryDirectory, RIG_NEEDS } from "./rig.ts";
import { judgeStates, recordingOf, SEED, STATES } from "./states.ts";

/** A dozen windows, with a kill of the engine in the middle. */
const WINDOW_MS = 500;
const RUN_MS = 6000;
const KILL_AFTER_MS = 2500;
const STATE_MS_MAX = 8000;
const ARGS = [...MOUNT_ARGS, "--durability", "ordered", "--loss-window", `${WINDOW_MS}ms`];

const GROWING_STATES = Math.ceil(STATES / 3);

const REMOUNT_EACH = 30;
/** Those in lock step, and those beside them. */
const NAMES = ["a", "b", "beside"] as const;
const MANNERS = ["once", "once", "twice", "once", "interrupted"] as const satisfies Manner[];

const SCRIPT: Script = {
  args: ARGS,
  prepare: makeLockstepImages,
  start: (daemon, log, notes) => startWorkload("lockstep", daemon.mountpoint, log, notes, SEED, RUN_MS),
  kills: 1,
  killAfterMs: KILL_AFTER_MS,
};

/** Larger, so that not every commit comes before its time. */
const GROWING_ARGS = ["--cache-size", "32M", "--dirty-limit", "50%", ...JOURNAL_ARGS, "--durability", "ordered"];

/** What of an image that is copied in is written to the journal, too, at the most: it goes home ahead of it. */
const JOURNALLED_MOST = 0.7;

test.for(["ext4", "xfs"] as const)(
  "%s: so do images that were being copied in",
  { timeout: 120_000 + GROWING_STATES * STATE_MS_MAX },
  async (kind, context) => {
    need(context, ...RIG_NEEDS);
    const place = await memoryDirectory();
    const shares: number[] = [];
    const script: Script = {
      args: [...GROWING_ARGS, "--loss-window", `${WINDOW_MS}ms`],
      prepare: makeGrowingImages,
      start: async (daemon, log, notes) => {
        const { ended } = await startWorkload("growing", daemon.mountpoint, log, notes, SEED, RUN_MS);
        return { ended: ended.finally(() => shares.push(journalled(daemon))) };
      },
      kills: 1,
      killAfterMs: KILL_AFTER_MS,
    };
    const recording = await recordingOf(kind, () => record(kind, script, place));
    const history = historyOf(recording, ["a", "b"], [], 0);
    const judging = { place, count: GROWING_STATES, file: "ordered.test.ts", test: `${kind}: so` };
    const wrong = await judgeStates(recording, judging, (images, state) => judge(history, images, state, []));
    expect(wrong).toEqual([]);
    console.log(
      `${kind}: ${shares.map((share) => share.toFixed(2)).join()} of what was written went through the journal`,
    );
    for (const share of shares) expect(share).toBeLessThan(JOURNALLED_MOST);
  },
);

const journalled = (daemon: Daemon): number => {
  const { flushes, writes } = daemon.stats();
  return flushes.journal_bytes / writes.bytes;
};

test.for(["ext4", "xfs"] as const)(
  "%s: whatever a power cut leaves, all images show one instant of the loss window",
  { timeout: 120_000 + STATES * STATE_MS_MAX },
  async (kind, context) => {
    need(context, ...RIG_NEEDS);
    const place = await memoryDirectory();
    const recording = await recordingOf(kind, () => record(kind, SCRIPT, place));
    const history = historyOf(recording, ["a", "b"], ["beside"], LOCKSTEP_SECTORS);
    const ages: number[] = [];
    const judging = { place, count: STATES, file: "ordered.test.ts", test: `${kind}: whatever` };
    const wrong = await judgeStates(recording, judging, (images, state) => judge(history, images, state, ages));
    ages.sort((a, b) => a - b);
    console.log(`${kind}: ${ages.at(-1)} ms were lost at worst, ${ages[ages.length >> 1]} ms at the median`);
    expect(wrong).toEqual([]);
    expect(history.answers.count).toBeGreaterThan(RUN_MS / 20);
  },
);

function historyOf(
  { notes, notesFile }: Recording,
  lockstep: readonly string[],
  beside: readonly string[],
  sectors: number,
): History {
  const numbersOf = (names: readonly string[]): number[] => names.map((name) => notes.imageNamed(name));
  const answers = Answers.read(notesFile);
  return { notes, answers, lockstep: numbersOf(lockstep), beside: numbersOf(beside), sectors };
}

async function judge(history: History, images: string, state: State, ages: number[]): Promise<string[]> {
  if (state.number % REMOUNT_EACH === 1) return wrongThroughHypegear(history, images, state);
  const manner = MANNERS[state.number % MANNERS.length]!;
  const wrong = await recovered(images, manner, new Random(state.number));
  return [...wrong, ...wrongIn(history, images, state, ages)].map((what) => `recovered ${manner}: ${what}`);
}

async function wrongThroughHypegear(history: History, images: string, state: State): Promise<string[]> {
  bootAnew(images);
  const daemon = await mountHypegear({ backing: images, args: ARGS });
  const wrong = wrongIn(history, daemon.mountpoint, state);
  const { code, stderr } = await daemon.umount();
  if (code !== 0) wrong.push(`umount after the cut: exit code ${code}: ${stderr}`);
  return [...wrong, ...wrongIn(history, images, state)].map((what) => `through hypegear: ${what}`);
}

/** What is wrong with the images in `directory` after a cut in `state`. How old they are is added to `ages`. */
function wrongIn(history: History, directory: string, { flushed }: State, ages: number[] = []): string[] {
  const { answers } = history;
  const images = [...history.lockstep, ...history.beside];
  const contents = new Map(images.map((image, i) => [image, readFileSync(join(directory, NAMES[i]!))]));
  const { step, wrong } = instantOf(history, contents);
  if (wrong.length > 0) return wrong;
  const steps = new Set(lockSteps(history));
  const age = answers.ageAt(flushed, step, (number) => steps.has(number));
  ages.push(age);
  const kept = answers.keptBy(flushed, WINDOW_MS, (number) => steps.has(number));
  if (step < kept)
    wrong.push(`the instant of step ${step}, ${age} ms old, is shown: step ${kept} is out of the window`);
  const reshapes = new Set(reshapesOf(history));
  const committed = answers.answeredAt(flushed, (number) => reshapes.has(number));
  if (step < committed) wrong.push(`the instant of step ${step} is shown: step ${committed}, a reshape, was answered`);
  return wrong;
}

/** Steps that are committed when they are answered. */
const reshapesOf = ({ notes, lockstep }: History): number[] =>
  lockstep.flatMap((image) => notes.steps.get(image)!.filter(({ kind }) => kind !== "W")).map(({ number }) => number);
