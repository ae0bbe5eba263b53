/**
 * Whether a slab of an earlier mount is carried on. The cases, first that fits:
 *
 *   state            boot     slab                          verdict
 *   none, idle       any      none at our path              fresh
 *   none             any      one at our path               refuse: not known to be ours, never deleted
 *   idle             same     the state's                   fresh: no guest ever wrote into it
 *   serving          other    gone with the power           fresh, and say what that means
 *   serving          same     state of another directory    refuse; --force: fresh
 *   serving          same     missing                       refuse; --force: fresh
 *   serving          same     another identity              refuse
 *   serving          same     the state's                   adopt
 */
import { closeSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
import { detachStale } from "../fuse/mount.ts";
import { type FoundSlab, openSlabFile, removeSlabFile, slabPath } from "./slab-file.ts";
import { currentBootId, type State, type StateDirectory } from "./state.ts";

export interface Verdict {
  /** The slab to carry on with; undefined: make a new one. */
  slab: FoundSlab | undefined;
  notices: string[];
}

/** Decides by state and slab; `backing` is for messages. Throws a refusal. */
export function adoptable(states: StateDirectory, backing: string, directory: string, force: boolean): Verdict {
  const state = states.read();
  const path = slabPath(directory);
  if (state?.serving === true && state.bootId !== currentBootId()) return fresh(path, afterPowerLoss(state));
  if (state?.serving === true && state.directory !== directory) {
    if (force) return fresh(path, "went on without the writes of the directory that this one was copied from");
    throw copied(state, backing);
  }
  if (state !== undefined && !state.serving) removeOwn(path, state, directory);
  if (state?.serving !== true) return fresh(path);

  const slab = openSlabFile(path);
  if (slab === undefined) {
    if (force) return fresh(path, `went on without the slab ${path}: writes that were not yet home are lost`);
    throw missing(state, backing);
  }
  if (slab.identity !== state.identity) {
    closeSync(slab.fd);
    throw foreign(path);
  }
  detachStale(state.mountpoint);
  return { slab, notices: ["carrying on with the slab of the mount before: nothing is lost"] };
}

function fresh(path: string, ...notices: string[]): Verdict {
  const found = openSlabFile(path);
  if (found === undefined) return { slab: undefined, notices };
  closeSync(found.fd);
  throw foreign(path);
}

/** Removes the slab of a mount that began, or ended, without serving. It may be half made, so its superblock says nothing. */
function removeOwn(path: string, state: State, directory: string): void {
  if (state.bootId === currentBootId() && state.directory === directory) removeSlabFile(path);
}

const afterPowerLoss = (state: State): string =>
  `the host went down while ${state.mountpoint} was mounted: what was flushed in mode sync is home, later writes are lost`;

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
