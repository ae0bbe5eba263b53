/**
 * The states of a recording, one after the other: each is built, mounted as after a cut, and looked at.
 *
 * A run of a workload cannot be repeated, only kept: that of a failing state is, and the message says how to judge it again.
 */
import { mkdirSync, rmdirSync, rmSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { unmountLazily } from "../support/mounts.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { keepRecording, openRecording, type Recording } from "./recording.ts";
import { Replayer, type State, stateOf } from "./replay.ts";
import { type Kind, MOUNT_OPTIONS } from "./rig.ts";

const { env } = process;
export const STATES = Number(env["HYPEGEAR_POWER_STATES"] ?? "105");
export const SEED = Number(env["HYPEGEAR_POWER_SEED"] ?? "1");
/** A recording that was kept, and the one state of it to judge. */
const KEPT = env["HYPEGEAR_POWER_RECORDING"];
const ONE = env["HYPEGEAR_POWER_STATE"];

/** The kept recording, if one was asked for; else a new one. */
export const recordingOf = (kind: Kind, make: () => Promise<Recording>): Promise<Recording> =>
  KEPT === undefined ? make() : Promise.resolve(openRecording(resolve(KEPT), kind));

/** States that are looked at beside one another: most of the time goes into starting programs. */
const LANES = 2;

/** What a state is looked at with: `images` is the directory of images. What is wrong, a line each. */
export type Look = (images: string, state: State) => Promise<string[]>;

/** Where the files of a recording and its states go, and how a failing one is found again. */
export interface Judging {
  place: string;
  /** How many states. */
  count: number;
  /** The test file and the name of the test, for a rerun. */
  file: string;
  test: string;
}

/** Everything wrong in any of the states, each mounted as after a cut, and how to see it again. */
export const judgeStates = (recording: Recording, judging: Judging, look: Look): Promise<string[]> =>
  judgeDevices(recording, judging, (device, state) =>
    mounted(device, recording.kind, judging.place, (images) => look(images, state)),
  );

/** The same, of devices that are not mounted: `device` is a file. */
export async function judgeDevices(
  recording: Recording,
  judging: Judging,
  look: (device: string, state: State) => Promise<string[]>,
): Promise<string[]> {
  const replayer = new Replayer(recording, SEED, judging.place);
  testScope(() => replayer.close());
  const wrong: string[] = [];
  const judgeOne = async (device: string, state: State): Promise<void> => {
    const found = await look(device, state);
    const name = `${recording.kind} ${state.kind} ${state.number}, ${state.flushed} of ${state.cut} entries flushed`;
    wrong.push(...found.map((what) => `${name}: ${what} [HYPEGEAR_POWER_STATE=${state.number}]`));
    rmSync(device);
  };
  const underWay = new Set<Promise<void>>();
  try {
    for (const state of chosenStates(recording, judging.count)) {
      if (underWay.size >= LANES) await Promise.race(underWay);
      const judged = judgeOne(await replayer.build(state), state).finally(() => underWay.delete(judged));
      underWay.add(judged);
    }
    await Promise.all(underWay);
  } finally {
    await Promise.allSettled(underWay);
  }
  if (wrong.length > 0 && KEPT === undefined) wrong.push(await keep(recording, judging));
  return wrong;
}

/** States in the order of their flushes; a name is the state's number. */
function chosenStates({ entries, notes }: Recording, count: number): State[] {
  const numbers = ONE === undefined ? Array.from({ length: count }, (_, i) => i) : [Number(ONE)];
  const states = numbers.map((number) => stateOf(entries, SEED, number, notes.begin));
  return states.sort((a, b) => a.flushed - b.flushed);
}

/** Mounts `device` as after a cut, in `place`, and calls `look` with the directory of images, if the workload had come that far. */
export async function mounted(
  device: string,
  kind: Kind,
  place: string,
  look: (images: string) => Promise<string[]>,
): Promise<string[]> {
  const directory = join(place, `mounted-${basename(device)}`);
  mkdirSync(directory);
  testScope(() => unmountLazily(directory));
  await succeed("mount", ["-o", MOUNT_OPTIONS[kind], device, directory]);
  try {
    return await look(join(directory, "images"));
  } finally {
    await succeed("umount", [directory]);
    rmdirSync(directory);
  }
}

/** Keeps the recording and says how to look at its states again. */
async function keep(recording: Recording, { file, test }: Judging): Promise<string> {
  const directory = join(".cache", "power", `${test.replaceAll(/\W+/g, "-")}-${SEED}`);
  await keepRecording(recording, directory);
  const variables = `HYPEGEAR_POWER_RECORDING=${directory} HYPEGEAR_POWER_SEED=${SEED} HYPEGEAR_POWER_STATE=<number>`;
  return `rerun: ${variables} npm test -- test/power/${file} -t '${test}'`;
}
