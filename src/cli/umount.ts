/**
 * `hypegear umount`: everything home, then unmounted, then waited for the daemon's end. Exit 0 only when all of that is so.
 * A mount whose daemon is dead is only taken away: what it had not written home stays in the slab for the next mount.
 */
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { detachStale, unmountFuse } from "../fuse/mount.ts";
import { keeperBehind } from "../keeper/directories.ts";
import { type State, StateDirectory } from "../keeper/state.ts";
import { type MountEntry, mountTable } from "../sys/mount-table.ts";
import { command, findMount, readStats } from "./control.ts";
import { withProgress } from "./progress.ts";
import { keptByNamespace, usersOf } from "./users.ts";

const USERS_SHOWN = 3;
const POLL_MS = 20;
/** The daemon has nothing left to do but to end. */
const END_POLLS_MAX = 100;
/** Other mount namespaces are looked through once a second only: the daemon's end mostly comes first. */
const NAMESPACE_POLLS = 50;

export function umountCommand(): Command {
  return new Command("umount")
    .description("Takes all dirty data home, unmounts, and waits until the daemon has ended.")
    .argument("<MOUNTPOINT>", "a hypegear mount")
    .action(async (mountpoint: string) => umount(findMount(mountpoint)));
}

async function umount(mount: MountEntry): Promise<void> {
  const states = new StateDirectory(mount.source);
  const before = stateOf(states);
  const keeper = keeperBehind(mount.path);
  if (detachStale(mount.path) === 0) {
    const left = async (): Promise<number> => (await readStats(mount.path)).dirty.bytes;
    await withProgress("draining", left, command(mount.path, "drain"));
    unmountOrExplain(mount);
  }
  await daemonEnded(mount, states, before ?? states.read(), keeper); // a mount over its own directory hides its state
}

function unmountOrExplain(mount: MountEntry): void {
  const result = unmountFuse(mount.path, false);
  if (result === 0) return;
  const what = `umount ${mount.path}`;
  if (result === -E.EBUSY) {
    const users = usersOf(mount, USERS_SHOWN + 1);
    const named = users.slice(0, USERS_SHOWN).join(", ") + (users.length > USERS_SHOWN ? " and others" : "");
    const by = named === "" ? "somebody that this user cannot see" : named;
    throw new Failure(`${what}: still used by ${by}; all data is home: end that and umount again`);
  }
  const forbidden = result === -E.EPERM || result === -E.EACCES;
  const todo = forbidden ? "run as the user who mounted it, or as root" : "see dmesg";
  throw new Failure(`${what}: ${errnoName(result)}; ${todo}`, forbidden ? ExitCode.forbidden : ExitCode.failed);
}

/**
 * Waits until the mount's `state` is gone, which the keeper removes last, when everything is home; and then, for a moment, for
 * its end. Undefined: it is gone already, or not where it was, because the directory was renamed; only the keeper's end tells then.
 */
async function daemonEnded(
  mount: MountEntry,
  states: StateDirectory,
  state: State | undefined,
  keeper: number | undefined,
): Promise<void> {
  if (state === undefined) {
    if (keeper !== undefined) await keeperGone(mount, keeper);
    return;
  }
  if (!isStateOf(mount, states, state, keeper)) return;
  await stateGone(mount, states, state);
  for (let polls = 0; polls < END_POLLS_MAX && isRunning(state.pid); polls++) await sleep(POLL_MS);
}

/**
 * The state tells the place where the mount began: a directory above it may have been renamed since. Then it is the state of this mount
 * if it has the same keeper, or both have none; but not if the mount was a copy, and the one that it was copied from goes on.
 */
function isStateOf(mount: MountEntry, states: StateDirectory, state: State, keeper: number | undefined): boolean {
  if (state.mountpoint === mount.path) return true;
  return (state.pid === keeper || !states.isLocked()) && !isElsewhere(mount);
}

/** Undefined: it is not there, or cannot be read. */
function stateOf(states: StateDirectory): State | undefined {
  try {
    return states.read();
  } catch {
    return undefined; // what is wrong with it is told by who needs it
  }
}

/** A process that ended and that its parent has not asked for yet does not run. */
function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, "latin1"));
  } catch {
    return false;
  }
}

async function keeperGone(mount: MountEntry, keeper: number): Promise<void> {
  for (let polls = 1; isRunning(keeper) && !isElsewhere(mount); polls++) {
    throwIfKept(mount, polls);
    await sleep(POLL_MS);
  }
}

/** The mount was a copy of another one, which goes on. */
const isElsewhere = ({ device }: MountEntry): boolean => mountTable().some((entry) => entry.device === device);

function throwIfKept(mount: MountEntry, polls: number): void {
  const keeper = polls % NAMESPACE_POLLS === 0 ? keptByNamespace(mount) : undefined;
  if (keeper !== undefined) throw stillMounted(mount.path, keeper);
}

/** A state of another slab, or keeper, is of a mount that began meanwhile, maybe at the same place. */
async function stateGone(mount: MountEntry, states: StateDirectory, state: State): Promise<void> {
  const { path, source } = mount;
  const isOver = (): boolean => {
    const now = states.read();
    if (now?.identity !== state.identity) return true;
    if (now.pid !== state.pid) throw daemonDied(source, path);
    return false;
  };
  for (let polls = 1; !isOver(); polls++) {
    if (!states.isLocked() && !isOver()) throw daemonDied(source, path);
    throwIfKept(mount, polls);
    await sleep(POLL_MS);
  }
}

const stillMounted = (mountpoint: string, by: string): Failure =>
  new Failure(
    `${mountpoint}: unmounted here, but still mounted in the mount namespace of ${by}; end that, and the daemon ends too`,
  );

function daemonDied(backing: string, mountpoint: string): Failure {
  const todo = `hypegear mount ${backing}${backing === mountpoint ? "" : ` ${mountpoint}`} carries on with them`;
  const why = "its daemon had died, so the slab still keeps the writes that may not be home";
  return new Failure(`${mountpoint}: unmounted, but ${why}; ${todo}`, ExitCode.refused);
}
