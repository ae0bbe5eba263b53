/**
 * What is carried on of an earlier mount. The cases, first that fits; the journal is the one that the state names:
 *
 *   state            boot     slab                          slab                        journal
 *   none, idle       any      none at our path              fresh                       ended
 *   none             any      one at our path               refuse: not known to be ours, never deleted
 *   idle             same     the state's                   fresh: no guest ever wrote  ended
 *   serving          other    gone with the power           fresh, and say so           recovered
 *   serving          same     state of another directory    refuse; --force: fresh      recovered if it lies in the directory
 *   serving          same     missing                       refuse; --force: fresh      recovered
 *   serving          same     another identity              refuse
 *   serving          same     the state's                   adopt                       carried on
 *
 * A journal that has failed and was declared void is ended in every case: all was home then.
 * What comes of the journal then (`journal-adoption.ts`) depends on what lies at its place.
 */
import { closeSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
import { detachStale } from "../fuse/mount.ts";
import { type FoundSlab, openSlabFile, removeSlabFile, slabPath } from "./slab-file.ts";
import { currentBootId, type KnownJournal, type State, type StateDirectory } from "./state.ts";

/**
 * What is to become of the journal that the state names.
 *
 *   end       all that it may hold is home, or was never promised
 *   recover   what it holds must come home before anything else
 *   carry     it belongs to the slab that is carried on with
 */
export type JournalFate = "end" | "recover" | "carry";

export interface Verdict {
  /** The slab to carry on with; undefined: make a new one. */
  slab: FoundSlab | undefined;
  state: State | undefined;
  /** Undefined: the state names none, or one that is not to be touched. */
  journal: { fate: JournalFate; known: KnownJournal } | undefined;
  notices: string[];
}

/** Decides by state and slab; `backing` is for messages. Throws a refusal. */
export function adoptable(states: StateDirectory, backing: string, directory: string, force: boolean): Verdict {
  const state = states.read();
  const path = slabPath(directory);
  if (state?.serving === true && state.bootId !== currentBootId())
    return fresh(path, state, "recover", afterPowerLoss(state));
  if (state?.serving === true && state.directory !== directory) {
    if (!force) throw copied(state, backing);
    const own = state.journal?.path === "" ? state : { ...state, journal: undefined };
    return fresh(path, own, "recover", "went on without the writes of the directory that this one was copied from");
  }
  if (state !== undefined && !state.serving) removeOwn(path, state, directory);
  if (state?.serving !== true) return fresh(path, state, "end");

  const slab = openSlabFile(path);
  if (slab === undefined) {
    if (!force) throw missing(state, backing);
    return fresh(path, state, "recover", `went on without the slab ${path}: writes that were not yet home are lost`);
  }
  if (slab.identity !== state.identity) {
    closeSync(slab.fd);
    throw foreign(path);
  }
  detachStale(state.mountpoint);
  const notices = ["carrying on with the slab of the mount before: nothing is lost"];
  return { slab, state, journal: fateOf(state, "carry"), notices };
}

const fateOf = (state: State | undefined, fate: JournalFate): Verdict["journal"] =>
  state?.journal === undefined ? undefined : { fate: state.isVoid === true ? "end" : fate, known: state.journal };

function fresh(path: string, state: State | undefined, fate: JournalFate, ...notices: string[]): Verdict {
  const found = openSlabFile(path);
  if (found === undefined) return { slab: undefined, state, journal: fateOf(state, fate), notices };
  closeSync(found.fd);
  throw foreign(path);
}

/** Removes the slab of a mount that began, or ended, without serving. It may be half made, so its superblock says nothing. */
function removeOwn(path: string, state: State, directory: string): void {
  if (state.bootId === currentBootId() && state.directory === directory) removeSlabFile(path);
}

const afterPowerLoss = ({ mountpoint, journal, isVoid }: State): string =>
  journal === undefined || isVoid === true
    ? `the host went down while ${mountpoint} was mounted: what was flushed in mode sync is home, later writes are lost`
    : `the host went down while ${mountpoint} was mounted: what the journal promises is brought home, later writes are lost`;

function copied(state: State, backing: string): Failure {
  const what = `${backing}: was moved or copied while it was mounted at ${state.mountpoint}; writes may be missing in it`;
  return new Failure(
    `${what}; unmount the original and copy again, or take it as it is with --force`,
    ExitCode.refused,
  );
}

function missing(state: State, backing: string): Failure {
  const what = `${backing}: its slab ${state.slab} is missing, and with it writes that were not yet home`;
  return new Failure(`${what}; bring it back, or accept the loss with --force`, ExitCode.refused);
}

const foreign = (path: string): Failure =>
  new Failure(
    `${path}: a slab of another directory is in the way; mount that one, or remove it if it is nobody's`,
    ExitCode.refused,
  );
