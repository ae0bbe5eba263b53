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
 * `hypegear recover` refuses what is refused here, and adopts nothing: it tells to mount. `hypegear check` says the same.
 * A journal that has failed and was declared void is ended in every case: all was home then.
 * What comes of the journal then (`journal-adoption.ts`) depends on what lies at its place.
 */
import { closeSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
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
  const found = states.read();
  if (found !== undefined && isRest(found, directory)) removeSlabFile(slabPath(directory));
  const { slab, state, notices } = slabOfState(found, backing, directory, force);
  if (slab !== undefined && state !== undefined) {
    const notice = "carrying on with the slab of the mount before: nothing is lost";
    return { slab, state, journal: fateOf(state, "carry"), notices: [notice] };
  }
  return { slab, state, journal: fateOf(state, state?.serving === true ? "recover" : "end"), notices };
}

const fateOf = (state: State | undefined, fate: JournalFate): Verdict["journal"] =>
  state?.journal === undefined ? undefined : { fate: state.isVoid === true ? "end" : fate, known: state.journal };

/** True if a slab at our path is what a mount left that began, or ended, without serving. It may be half made, so its superblock says nothing. */
export const isRest = (state: State | undefined, directory: string): boolean =>
  state?.serving === false && state.bootId === currentBootId() && state.directory === directory;

/**
 * The slab that `state` counts on, which the caller closes; undefined: it counts on none, or `force` goes on without. The state
 * comes back without what is not of this directory. A slab at our path that `isRest` is to be removed first.
 * Throws what a mount, a recovery and a check all say.
 */
export function slabOfState(
  state: State | undefined,
  backing: string,
  directory: string,
  force: boolean,
): Omit<Verdict, "journal"> {
  const path = slabPath(directory);
  const isExpected = state?.serving === true && state.bootId === currentBootId();
  const isElsewhere = isExpected && state.directory !== directory;
  if (isElsewhere && !force) throw elsewhere(state, backing, directory);
  const slab = openSlabFile(path);
  if (slab !== undefined) {
    if (isExpected && !isElsewhere && slab.identity === state.identity) return { slab, state, notices: [] };
    closeSync(slab.fd);
    throw foreign(path);
  }
  if (isElsewhere) return { slab, ...withoutOriginal(state) };
  if (isExpected && !force) throw missing(state, backing);
  if (isExpected) {
    const notice = `went on without the slab ${path}: writes that were not yet home are lost`;
    return { slab, state, notices: [notice] };
  }
  return { slab, state, notices: state?.serving === true ? [afterPowerLoss(state)] : [] };
}

/** A journal that lies outside of a copy is the original's. */
function withoutOriginal(state: State): { state: State; notices: string[] } {
  const notice = "went on without the writes of the directory that this one was copied from";
  const { journal } = state;
  if (journal === undefined || journal.path === "") return { state, notices: [notice] };
  const left = `left it the journal ${journal.path}`;
  return { state: { ...state, journal: undefined }, notices: [`${notice}, and ${left}`] };
}

const afterPowerLoss = ({ mountpoint, journal, isVoid }: State): string =>
  journal === undefined || isVoid === true
    ? `the host went down while ${mountpoint} was mounted: what was flushed in mode sync is home, later writes are lost`
    : `the host went down while ${mountpoint} was mounted: what the journal promises is brought home, later writes are lost`;

/** Under another number than it was mounted with: moved, copied, or its device was given another one. */
function elsewhere(state: State, backing: string, directory: string): Failure {
  const refuse = (what: string, todo: string): Failure => new Failure(`${backing}: ${what}; ${todo}`, ExitCode.refused);
  const where = `while it was mounted at ${state.mountpoint}`;
  const moved = `was moved or copied ${where}; writes may be missing in it`;
  if (!isThere(state)) return refuse(moved, "unmount the original and copy again, or take it as it is with --force");
  const slab = `the slab ${state.slab} still has writes that are not home`;
  const inodeOf = (id: string): string => id.slice(id.indexOf(":") + 1);
  if (inodeOf(state.directory) !== inodeOf(directory))
    return refuse(
      `was moved or copied ${where}, and ${slab}`,
      "mount the original, unmount it and copy again; only if this copy can do without them, take it as it is with --force",
    );
  return refuse(
    `its device has another number than ${where} (its filesystem was mounted anew, or this is a snapshot), and ${slab}`,
    "mount its filesystem with the device number it had, and this directory then; do not reboot before: the slab is in memory",
  );
}

function isThere({ directory, identity }: State): boolean {
  const slab = openSlabFile(slabPath(directory));
  if (slab !== undefined) closeSync(slab.fd);
  return slab?.identity === identity;
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
