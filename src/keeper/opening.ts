/**
 * Everything before the engine: directories, lock, journal, slab, mount, in an order in which each refusal leaves nothing behind.
 * What was made is undone in reverse when a later step fails.
 */
import { randomUUID } from "node:crypto";
import { closeSync } from "node:fs";
import { assert } from "../base/assert.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { formatSize } from "../base/size.ts";
import type { EngineConfig } from "../engine/config.ts";
import { deadMounts, detachStale, isOurs, mountFuse, mountOf, unmountFuse } from "../fuse/mount.ts";
import { O } from "../sys/constants.ts";
import { cstring, dup3 } from "../sys/libc.ts";
import { type MountEntry, mountTable, topMount } from "../sys/mount-table.ts";
import { getXattr } from "../sys/xattr.ts";
import { adoptable, type Verdict } from "./adoption.ts";
import type { KeeperConfig } from "./config.ts";
import {
  alreadyMounted,
  type Directories,
  deadMountsOf,
  directoryId,
  openBacking,
  refuseIfMounted,
} from "./directories.ts";
import type { Interrupts } from "./interrupts.ts";
import { endMountJournal, Journals, type MountJournal } from "./journals.ts";
import { createSlabFile, removeSlabFile, slabPath } from "./slab-file.ts";
import { currentBootId, type KnownJournal, type State, StateDirectory } from "./state.ts";

export interface Opened {
  backing: string;
  mountpoint: string;
  fds: { fuse: number; backing: number; slab: number; lock: number; journal: number | undefined };
  journal: EngineConfig["journal"];
  /** Of our mount in the mount table. */
  mountId: number;
  cacheBytes: number;
  adopted: boolean;
  notices: string[];
  /** Once requests are served: takes away what a mount before left dead at another place. */
  detachOthers(): void;
  /** Removes slab, journal, state and lock: everything is home. */
  removeAll(): void;
  /** Unmounts and takes back what this start made; an adopted slab stays, and a dead mount where one was. */
  undo(): void;
}

/** What a start is told, and tells. */
export interface OpeningContext {
  readonly config: KeeperConfig;
  readonly paths: Directories;
  readonly log: Log;
  readonly progress: (share: number) => void;
  readonly interrupts: Interrupts;
}

/** Opens and mounts, or rejects with a `Failure` and leaves everything as it was. */
export async function open(context: OpeningContext): Promise<Opened> {
  const opening = new Opening(context);
  try {
    return await opening.run();
  } catch (error) {
    opening.undoAll();
    throw error;
  }
}

class Opening {
  private readonly config: KeeperConfig;
  private readonly paths: Directories;
  private readonly log: Log;
  private readonly progress: (share: number) => void;
  private readonly interrupts: Interrupts;
  /** What takes back the steps that were done. */
  private readonly undo: (() => void)[] = [];

  constructor({ config, paths, log, progress, interrupts }: OpeningContext) {
    this.config = config;
    this.paths = paths;
    this.log = log;
    this.progress = progress;
    this.interrupts = interrupts;
  }

  undoAll(): void {
    for (const step of this.undo.splice(0).toReversed()) step();
  }

  async run(): Promise<Opened> {
    const { config, paths, progress, interrupts } = this;
    const root = openBacking(paths.backing);
    this.undo.push(() => closeSync(root));
    const { states, lock } = this.locked(root);
    const verdict = adoptable(states, paths.backing, directoryId(root), config.force);
    const notices = config.allowOther && hasAccessList(root) ? [LISTS_NOT_OBEYED] : [];
    const journals = new Journals({ config, states, root, backing: paths.backing, notices, progress });
    await interrupts.check();
    const { state, slab, journal } = await this.slabAndJournal(states, root, verdict, journals, notices);
    const { cacheBytes = config.cacheBytes } = verdict.slab ?? {};
    if (cacheBytes !== config.cacheBytes) notices.push(keptSize(cacheBytes, config.cacheBytes));
    await interrupts.check();
    states.write({ ...state, serving: true });
    const { fuse, mountId } = this.mounted(root);
    const fds = { fuse, backing: root, slab, lock, journal: journal?.file.fd };
    await interrupts.check();
    return {
      ...paths,
      fds,
      journal: journal && { shown: journal.place.shown, id: journal.known.id, bytes: journal.file.size },
      mountId,
      cacheBytes,
      adopted: verdict.slab !== undefined,
      notices,
      removeAll: () => removeAll(states, state, journal, this.log),
      detachOthers: () => detachOthers(paths),
      undo: () => this.undoAll(),
    };
  }

  /** Carries on with those of the mount before, or makes new ones. */
  private async slabAndJournal(
    states: StateDirectory,
    root: number,
    verdict: Verdict,
    journals: Journals,
    notices: string[],
  ): Promise<{ state: State; slab: number; journal: MountJournal | undefined }> {
    const found = verdict.slab;
    const kept = this.kept(this.interrupts.endedBy(() => journals.settle(verdict)));
    if (kept !== undefined && this.wantsOther(kept)) notices.push(keptJournal(kept));
    const planned = kept === undefined ? journals.plan() : undefined;
    const known = kept?.known ?? planned?.known;
    const state = this.stateOf(directoryId(root), found?.identity ?? randomUUID(), known);
    // A kill before the journal is whole must leave a state that does not miss it.
    states.write(found === undefined ? state : { ...state, serving: true, journal: kept?.known });
    if (found === undefined) this.undo.push(() => states.removeState());
    else this.undo.push(() => states.write({ ...state, serving: true, journal: kept?.known }));
    const journal = planned === undefined ? kept : this.undone(journals.make(planned), endMountJournal);
    await this.interrupts.check();
    return { state, slab: found?.fd ?? this.newSlab(states, state), journal };
  }

  private kept(journal: MountJournal | undefined): MountJournal | undefined {
    return journal && this.undone(journal, ({ file }) => file.close());
  }

  private wantsOther({ known, file }: MountJournal): boolean {
    const { journal, journalBytes = file.size } = this.config;
    return journal !== known.path || journalBytes !== file.size;
  }

  private undone<T>(made: T, undo: (made: T) => void): T {
    this.undo.push(() => undo(made));
    return made;
  }

  private locked(backing: number): { states: StateDirectory; lock: number } {
    const states = new StateDirectory(`/proc/self/fd/${backing}`, this.paths.backing);
    const lock = states.lock((state) => lockedBy(this.paths.backing, state));
    this.undo.push(() => {
      states.clear(); // before the lock is given up: else it might be another daemon's file
      closeSync(lock);
    });
    return { states, lock };
  }

  private stateOf(directory: string, identity: string, journal: KnownJournal | undefined): State {
    return {
      version: this.config.engine.version,
      serving: false,
      slab: slabPath(directory),
      identity,
      directory,
      ...(journal === undefined ? {} : { journal }),
      mountpoint: this.paths.mountpoint,
      pid: process.pid,
      bootId: currentBootId(),
    };
  }

  private newSlab(states: StateDirectory, state: State): number {
    const fd = createSlabFile(state.slab, this.config.cacheBytes, state.identity, (text) => this.log.info(text));
    this.undo.push(() => {
      closeSync(fd);
      states.write(state); // not serving: no slab is expected from here on
      removeSlabFile(state.slab);
    });
    return fd;
  }

  /**
   * Everything was judged: now the dead mount goes for which ours comes. If we are undone after that, ours stays in its place, as
   * a dead one: else guests of a directory that is mounted over itself would write past the cache. But one that covers the
   * mount of another start, which came a moment sooner, goes.
   */
  private mounted(root: number): { fuse: number; mountId: number } {
    const { mountpoint } = this.paths;
    const wasDead = this.replaceDead(root);
    refuseIfMounted(mountpoint); // another start may have come first: making a large slab takes seconds
    const { allowOther, noexec } = this.config;
    const fuse = mountFuse({ ...this.paths, allowOther, noexec });
    const { own, covered } = mountsOf(this.paths);
    this.undo.push(() => {
      const now = own && mountOf(own.id);
      const stays = wasDead && covered === undefined;
      if (now !== undefined && !stays && isOurs(topMount(now.path))) unmountFuse(now.path, true);
      closeSync(fuse);
    });
    if (own === undefined) throw movedAway(mountpoint);
    if (covered !== undefined) throw alreadyMounted(covered);
    return { fuse, mountId: own.id };
  }

  /** Detaches the dead mount at the mountpoint. A descriptor of what lay beneath is exchanged for one that all can see the use of. */
  private replaceDead(root: number): boolean {
    const { backing, mountpoint } = this.paths;
    const wasBeneath = deadMounts(backing) > 0;
    const wasDead = detachStale(mountpoint) > 0;
    if (wasBeneath && deadMounts(backing) === 0) {
      const seen = openBacking(backing);
      assert(directoryId(seen) === directoryId(root), "what lay beneath the dead mount is what it uncovered");
      dup3(seen, root, O.CLOEXEC);
      closeSync(seen);
    }
    return wasDead;
  }
}

/**
 * Our mount, and one of this program that it covers. Known by its source, which is nobody else's while we have the lock, and not by
 * being on top: that may be another start's.
 */
function mountsOf({ backing, mountpoint }: Directories): Record<"own" | "covered", MountEntry | undefined> {
  const table = mountTable().filter((entry) => isOurs(entry) && entry.path === mountpoint);
  const own = table.findLast(({ source }) => source === backing);
  return { own, covered: table.find(({ id }) => id === own?.parent) };
}

const movedAway = (mountpoint: string): Failure =>
  new Failure(`${mountpoint}: was unmounted or renamed while it was being mounted; try again`);

function detachOthers({ backing, mountpoint }: Directories): void {
  for (const path of deadMountsOf(backing, mountpoint)) detachStale(path);
}

/** The state first: a slab or a journal that is gone while the state expects it would be refused by the next mount. */
function removeAll(states: StateDirectory, state: State, journal: MountJournal | undefined, log: Log): void {
  try {
    states.write({ ...state, serving: false });
  } catch {
    states.removeState(); // no room for another (guests filled the disk): a kill before the next line leaves what is in the way, no loss
  }
  if (journal !== undefined) endOrLeave(states, journal, log);
  removeSlabFile(state.slab);
  states.removeState();
  states.clear();
}

/** One that was declared void may lie on a device that is gone. Beside the state it must go: there, without a state, it would count. */
function endOrLeave(states: StateDirectory, journal: MountJournal, log: Log): void {
  const { place } = journal;
  try {
    endMountJournal(journal);
  } catch (error) {
    if (place.path === "" || states.read()?.isVoid !== true) throw error;
    log.warn(`the journal ${place.shown} had failed, holds nothing, and is left there: ${(error as Error).message}`);
  }
}

/** Of files in the backing directory this is not known, but they inherit its default list. */
const hasAccessList = (directory: number): boolean =>
  ["access", "default"].some(
    (kind) => getXattr(directory, cstring("."), cstring(`system.posix_acl_${kind}`), null) > 0,
  );

const LISTS_NOT_OBEYED =
  "the directory has a POSIX access list, and such lists are not obeyed in the mount: of files that have one, the owning group gets what the list's mask allows, and users whom it denies get in by the mode";

const keptSize = (kept: number, wanted: number): string =>
  `the cache keeps its ${formatSize(kept)} because unwritten data is in it; ${formatSize(wanted)} applies after the next clean umount`;

const keptJournal = ({ place, file }: MountJournal): string =>
  `the journal stays ${place.shown}, ${formatSize(file.size)}, because it belongs to unwritten data; another applies after the next clean umount`;

function lockedBy(backing: string, state: State | undefined): Failure {
  if (state === undefined) {
    return new Failure(`${backing}: another hypegear is just mounting or unmounting it; try again`, ExitCode.refused);
  }
  const where = `${state.mountpoint} (keeper pid ${state.pid})`;
  return new Failure(
    `${backing}: already mounted at ${where}; unmount it first: hypegear umount ${state.mountpoint}`,
    ExitCode.refused,
  );
}
