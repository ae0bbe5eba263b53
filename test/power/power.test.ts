/**
 * Cut power (faults 3 to 6): a workload runs on hypegear on a real filesystem on a logged device; every state in which a power
 * cut can leave that device is a filesystem that mounts, and keeps what hypegear promised.
 *
 *   HYPEGEAR_POWER_STATES=5000 npm test -- test/power     more states; HYPEGEAR_POWER_SEED=7: of another workload
 *
 * A run of a workload cannot be repeated, only kept: that of a failing state is, and the message says how to judge it again.
 */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { currentBootId } from "../../src/keeper/state.ts";
import { mountHypegear } from "../support/daemon.ts";
import { unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import type { Notes } from "./notes.ts";
import { findWrong } from "./oracle.ts";
import { keepRecording, openRecording, type Recording, record } from "./recording.ts";
import { Replayer, type State, stateOf } from "./replay.ts";
import { type Kind, MOUNT_OPTIONS, memoryDirectory, RIG_NEEDS } from "./rig.ts";

const { env } = process;
const STATES = Number(env["HYPEGEAR_POWER_STATES"] ?? "105");
const SEED = Number(env["HYPEGEAR_POWER_SEED"] ?? "1");
/** A recording that was kept, and the one state of it to judge. */
const KEPT = env["HYPEGEAR_POWER_RECORDING"];
const ONE = env["HYPEGEAR_POWER_STATE"];

const STEPS = 400;
const STATE_MS_MAX = 5000;

/** States that hypegear mounts too: every so many. */
const REMOUNT_EACH = 60;

/** States in the order of their flushes; a name is the state's number. */
function chosenStates(recording: Recording): State[] {
  const numbers = ONE === undefined ? Array.from({ length: STATES }, (_, i) => i) : [Number(ONE)];
  const states = numbers.map((number) => stateOf(recording.entries, SEED, number));
  return states.sort((a, b) => a.flushed - b.flushed);
}

/** Mounts `device` as after a cut, and calls `look` with the directory of images, if the workload had come that far. */
async function mounted<T>(device: string, kind: Kind, place: string, look: (images: string) => T): Promise<Awaited<T>> {
  const directory = join(place, "replayed");
  await succeed("mount", ["-o", MOUNT_OPTIONS[kind], device, directory]);
  try {
    return await look(join(directory, "images"));
  } finally {
    await succeed("umount", [directory]);
  }
}

test.for(["ext4", "xfs"] as const)(
  "%s: whatever a power cut leaves, every promise is kept",
  { timeout: 120_000 + STATES * STATE_MS_MAX },
  async (kind, context) => {
    need(context, ...RIG_NEEDS);
    const place = await memoryDirectory();
    const recording = KEPT === undefined ? await record(kind, SEED, STEPS, place) : openRecording(resolve(KEPT), kind);
    const states = chosenStates(recording);
    mkdirSync(join(place, "replayed"));
    testScope(() => unmountLazily(join(place, "replayed")));
    const replayer = new Replayer(recording, SEED, place);
    testScope(() => replayer.close());

    const wrong: string[] = [];
    for (const state of states) {
      const device = await replayer.build(state);
      wrong.push(...(await judge(recording, state, device, place)));
      rmSync(device);
    }

    if (wrong.length > 0) wrong.push(...(KEPT === undefined ? await keep(recording) : []));
    expect(wrong).toEqual([]);
    expect(recording.notes.promises).toBeGreaterThan(STEPS / 4);
  },
);

async function judge({ kind, notes }: Recording, state: State, device: string, place: string): Promise<string[]> {
  const { number, cut, flushed } = state;
  const found = await mounted(device, kind, place, async (images) => {
    const wrong = findWrong(notes, images, flushed);
    const remount = number % REMOUNT_EACH === 1 && notes.promisedNames(flushed) > 0;
    return remount ? [...wrong, ...(await wrongThroughHypegear(notes, images, flushed))] : wrong;
  });
  const name = `${kind} ${state.kind} ${number}, ${flushed} of ${cut} entries flushed`;
  return found.map((what) => `${name}: ${what} [HYPEGEAR_POWER_STATE=${number}]`);
}

/** The first mount after a cut: it comes up without help, shows what was promised, and leaves it so. */
async function wrongThroughHypegear(notes: Notes, images: string, flushed: number): Promise<string[]> {
  bootAnew(join(images, ".hypegear", "state.json"));
  const daemon = await mountHypegear({ backing: images });
  const wrong = findWrong(notes, daemon.mountpoint, flushed);
  const { code, stderr } = await daemon.umount();
  if (code !== 0) wrong.push(`umount after the cut: exit code ${code}: ${stderr}`);
  return [...wrong, ...findWrong(notes, images, flushed)].map((what) => `through hypegear: ${what}`);
}

/** The state is of an earlier boot, as after every power cut; here none took place. */
function bootAnew(stateFile: string): void {
  const text = readFileSync(stateFile, "utf8");
  writeFileSync(stateFile, text.replace(currentBootId(), "of-the-boot-before-the-cut"));
}

/** Keeps the recording and says how to look at its states again. */
async function keep(recording: Recording): Promise<string[]> {
  const directory = join(".cache", "power", `${recording.kind}-${SEED}`);
  await keepRecording(recording, directory);
  const variables = `HYPEGEAR_POWER_RECORDING=${directory} HYPEGEAR_POWER_SEED=${SEED} HYPEGEAR_POWER_STATE=<number>`;
  return [`rerun: ${variables} npm test -- test/power/power.test.ts -t ${recording.kind}`];
}
