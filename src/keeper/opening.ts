/**
 * Everything before the engine: directories, lock, slab, mount, in an order in which each refusal leaves nothing behind.
 * What was made is undone in reverse when a later step fails.
 */
import { randomUUID } from "node:crypto";
import { closeSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { formatSize } from "../base/size.ts";
import { mountFuse, unmountFuse } from "../fuse/mount.ts";
import { topMount } from "../sys/mount-table.ts";
import { adoptable } from "./adoption.ts";
import type { KeeperConfig } from "./config.ts";
import { type Directories, directoryId, openBacking } from "./directories.ts";
import { createSlabFile, removeSlabFile, slabPath } from "./slab-file.ts";
import { currentBootId, type State, StateDirectory } from "./state.ts";

export interface Opened {
  backing: string;
  mountpoint: string;
  fds: { fuse: number; backing: number; slab: number; lock: number };
  /** Of our mount in the mount table. */
  mountId: number;
  cacheBytes: number;
  adopted: boolean;
  notices: string[];
  /** Removes slab, state and lock: everything is home. */
  removeAll(): void;
  /** Unmounts and takes back what this start made; an adopted slab stays. */
  undo(): void;
}

/** Opens and mounts, or throws a `Failure` and leaves everything as it was. */
export function open(config: KeeperConfig, paths: Directories, log: Log): Opened {
  const opening = new Opening(config, paths, log);
  try {
    return opening.run();
  } catch (error) {
    opening.undoAll();
    throw error;
  }
}

class Opening {
  private readonly config: KeeperConfig;
  private readonly paths: Directories;
  private readonly log: Log;
  /** What takes back the steps that were done. */
  private readonly undo: (() => void)[] = [];

  constructor(config: KeeperConfig, paths: Directories, log: Log) {
    this.config = config;
    this.paths = paths;
    this.log = log;
  }

  undoAll(): void {
    for (const step of this.undo.splice(0).toReversed()) step();
  }

  run(): Opened {
    const backing = openBacking(this.paths.backing);
    this.undo.push(() => closeSync(backing));
    const { states, lock } = this.locked(backing);
    const { slab: found, notices } = adoptable(states, this.paths.backing, directoryId(backing), this.config.force);
    const state = this.stateOf(directoryId(backing), found?.identity ?? randomUUID());
    const slab = found?.fd ?? this.newSlab(states, state);
    const cacheBytes = found?.cacheBytes ?? this.config.cacheBytes;
    if (cacheBytes !== this.config.cacheBytes) notices.push(keptSize(cacheBytes, this.config.cacheBytes));
    states.write({ ...state, serving: true });
    const fds = { fuse: this.mounted(), backing, slab, lock };
    return {
      ...this.paths,
      fds,
      mountId: topMount(this.paths.mountpoint)!.id,
      cacheBytes,
      adopted: found !== undefined,
      notices,
      removeAll: () => removeAll(states, state),
      undo: () => this.undoAll(),
    };
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

  private stateOf(directory: string, identity: string): State {
    return {
      version: this.config.engine.version,
      serving: false,
      slab: slabPath(directory),
      identity,
      directory,
      mountpoint: this.paths.mountpoint,
      pid: process.pid,
      bootId: currentBootId(),
    };
  }

  private newSlab(states: StateDirectory, state: State): number {
    states.write(state);
    this.undo.push(() => states.removeState());
    const fd = createSlabFile(state.slab, this.config.cacheBytes, state.identity, (text) => this.log.info(text));
    this.undo.push(() => {
      closeSync(fd);
      states.write(state); // not serving: no slab is expected from here on
      removeSlabFile(state.slab);
    });
    return fd;
  }

  private mounted(): number {
    const fuse = mountFuse({ ...this.paths, allowOther: this.config.allowOther });
    this.undo.push(() => {
      unmountFuse(this.paths.mountpoint, true);
      closeSync(fuse);
    });
    return fuse;
  }
}

/** The state first: a slab that is gone while the state expects it would be refused by the next mount. */
function removeAll(states: StateDirectory, state: State): void {
  try {
    states.write({ ...state, serving: false });
  } catch {
    states.removeState(); // no room for another (guests filled the disk): a kill before the next line leaves a slab that is in the way, no loss
  }
  removeSlabFile(state.slab);
  states.removeState();
  states.clear();
}

const keptSize = (kept: number, wanted: number): string =>
  `the cache keeps its ${formatSize(kept)} because unwritten data is in it; ${formatSize(wanted)} applies after the next clean umount`;

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
