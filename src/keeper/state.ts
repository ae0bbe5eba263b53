/**
 * `.hypegear/` in the backing directory: the lock that keeps a second daemon out, and the state that tells the next mount
 * whether a slab with unwritten data should exist. Reached through the directory's descriptor, so the mount does not hide it.
 *
 * The state is written with serving = false before the slab is made, and with serving = true before the mount: so
 *   no state, or not serving   no guest ever wrote: nothing can be lost
 *   serving, this boot         the slab must be there
 *   serving, another boot      the power took the slab; what was flushed is home, or in the journal that the state names
 */
import {
  closeSync,
  fstatSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  statSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { O } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const NAME = ".hypegear";

export interface KnownJournal {
  /** Absolute; empty for `journal` beside the state. */
  path: string;
  /** What the journal's superblock says too. */
  id: string;
}

export interface State {
  /** The journal has failed and holds nothing that counts: an engine said so, beside the state. Not written. */
  isVoid?: boolean;
  version: string;
  serving: boolean;
  /** The slab file's path. */
  slab: string;
  /** What the slab's superblock says too; made anew with every slab. */
  identity: string;
  /** Device and inode number of the backing directory, so that a copy of it is known as one. */
  directory: string;
  /** The journal; none: there is none. */
  journal?: KnownJournal | undefined;
  mountpoint: string;
  pid: number;
  bootId: string;
}

export const currentBootId = (): string => readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim();

export class StateDirectory {
  private readonly base: string;
  /** For messages. */
  private readonly shown: string;

  /** `path` is where the backing directory is, or a /proc/self/fd path of it; `shown` what users know it as. */
  constructor(path: string, shown = path) {
    this.base = `${path}/${NAME}`;
    this.shown = shown;
  }

  /** Where the journal lies that is given no other place. */
  get journal(): string {
    return `${this.base}/journal`;
  }

  /** The same, as users know it. */
  get shownJournal(): string {
    return `${this.shown}/${NAME}/journal`;
  }

  /** Where files lie that were unlinked in use. */
  get held(): string {
    return `${this.base}/held`;
  }

  /** The state, or undefined when there is none. Throws when it cannot be understood. */
  read(): State | undefined {
    let text: string;
    try {
      text = readFileSync(`${this.base}/state.json`, "utf8");
    } catch (error) {
      if (["ENOENT", "ENOTDIR"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
      throw this.unusable(error);
    }
    try {
      const state = JSON.parse(text) as State;
      return state.journal !== undefined && state.journal.id === this.voidJournal()
        ? { ...state, isVoid: true }
        : state;
    } catch (error) {
      const todo = "move it away only if no slab of it is left in /dev/shm";
      throw new Failure(`${this.shown}/${NAME}/state.json: damaged; ${todo}`, ExitCode.refused, error);
    }
  }

  /** The id of a journal that was declared void (`engine/journal.ts`). */
  private voidJournal(): string | undefined {
    try {
      return readFileSync(`${this.base}/void`, "latin1").trim();
    } catch {
      return undefined;
    }
  }

  /** Replaces the state; it is on stable media when this returns. */
  write(state: State): void {
    const fd = openSync(`${this.base}/state.new`, "w", 0o600);
    try {
      writeSync(fd, `${JSON.stringify(state, (key, value: unknown) => (key === "isVoid" ? undefined : value), 1)}\n`);
      fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(`${this.base}/state.new`, `${this.base}/state.json`);
    this.syncDirectory();
  }

  /** Takes the lock, making the directory if needed; the descriptor keeps it. Throws what `held` makes when another has it. */
  lock(held: (state: State | undefined) => Failure): number {
    try {
      this.makeDirectory();
      for (;;) {
        const fd = openSync(`${this.base}/lock`, O.RDWR | O.CREAT | O.NOFOLLOW | O.CLOEXEC, 0o600);
        const result = libc.flock(fd, LOCK_EX | LOCK_NB);
        if (result === 0 && this.isCurrent(fd)) return fd;
        closeSync(fd);
        if (result === -E.EWOULDBLOCK) throw held(this.read());
        if (result < 0)
          throw new Failure(
            `${this.shown}/${NAME}/lock: cannot be locked: ${errnoName(result)}; is it on a filesystem with locks?`,
          );
      }
    } catch (error) {
      throw error instanceof Failure ? error : this.unusable(error);
    }
  }

  /** True if a keeper or an engine holds the lock. */
  isLocked(): boolean {
    let fd: number;
    try {
      fd = openSync(`${this.base}/lock`, O.RDWR | O.CLOEXEC);
    } catch {
      return false;
    }
    const result = libc.flock(fd, LOCK_EX | LOCK_NB);
    closeSync(fd);
    return result === -E.EWOULDBLOCK;
  }

  /** Removes the state: after this, nothing is expected of a slab or a journal. */
  removeState(): void {
    for (const name of ["state.json", "void"]) rmSync(`${this.base}/${name}`, { force: true });
    this.syncDirectory();
  }

  /** Removes lock and directory. Call it holding the lock; what others put there stays. */
  clear(): void {
    rmSync(`${this.base}/state.new`, { force: true });
    unlinkSync(`${this.base}/lock`);
    for (const directory of [`${this.base}/held`, this.base]) {
      try {
        rmdirSync(directory);
      } catch {
        // Not there, or not empty: a held file whose removal failed is the next mount's.
      }
    }
  }

  private makeDirectory(): void {
    try {
      mkdirSync(this.base, 0o700);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EEXIST") throw error;
    }
  }

  /** False when the lock file was removed between our open and our flock: two daemons would each hold a lock of their own. */
  private isCurrent(fd: number): boolean {
    try {
      return fstatSync(fd).ino === statSync(`${this.base}/lock`).ino;
    } catch {
      return false;
    }
  }

  private syncDirectory(): void {
    const fd = openSync(this.base, O.RDONLY | O.DIRECTORY);
    fsyncSync(fd);
    closeSync(fd);
  }

  private unusable(error: unknown): Failure {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    const what = `${this.shown}/${NAME}: cannot be used (${code})`;
    if (code === "EACCES" || code === "EPERM") {
      return new Failure(
        `${what}: permission denied; run as the directory's owner or as root`,
        ExitCode.forbidden,
        error,
      );
    }
    const todo =
      code === "EROFS" ? "the filesystem is read-only, remount it writable" : "check the filesystem and its free space";
    return new Failure(`${what}; ${todo}`, ExitCode.failed, error);
  }
}
