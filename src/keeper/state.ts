/**
 * `.hypegear/` in the backing directory: the lock that keeps a second daemon out, and the state that tells the next mount
 * whether a slab with unwritten data should exist. Reached through the directory's descriptor, so the mount does not hide it.
 * The backing directory may be another user's: no symbolic link in it is followed, be it `.hypegear` itself or a file there.
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
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  statSync,
  writeSync,
} from "node:fs";
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { O } from "../sys/constants.ts";
import { isLocked, takeLock } from "../sys/lock.ts";
import { createAnew, openDirectory, pathOfOpen, readText, removeFile, syncDirectory } from "../sys/own-files.ts";

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
  private readonly path: string;
  /** For messages. */
  private readonly shown: string;
  /** Of the directory itself, while we hold the lock in it. */
  private fd: number | undefined;

  /** `path` is where the backing directory is, or a /proc/self/fd path of it; `shown` what users know it as. */
  constructor(path: string, shown = path) {
    this.path = `${path}/${NAME}`;
    this.shown = `${shown}/${NAME}`;
  }

  /** Where the journal lies that is given no other place. */
  get journal(): string {
    return `${this.fd === undefined ? this.path : pathOfOpen(this.fd)}/journal`;
  }

  /** The same, as users know it. */
  get shownJournal(): string {
    return `${this.shown}/journal`;
  }

  /** Calls `act` with a path of the directory itself. Throws the error of opening it. */
  private within<T>(act: (base: string) => T): T {
    if (this.fd !== undefined) return act(pathOfOpen(this.fd));
    const fd = openDirectory(this.path);
    try {
      return act(pathOfOpen(fd));
    } finally {
      closeSync(fd);
    }
  }

  /** The state, or undefined when there is none. Throws when it cannot be understood. */
  read(): State | undefined {
    let texts: { state: string; voidJournal: string | undefined };
    try {
      texts = this.within((base) => ({ state: readText(`${base}/state.json`), voidJournal: voidJournal(base) }));
    } catch (error) {
      if (codeOf(error) === "ENOENT") return undefined;
      throw this.unusable(error);
    }
    try {
      const state = JSON.parse(texts.state) as State;
      return state.journal !== undefined && state.journal.id === texts.voidJournal ? { ...state, isVoid: true } : state;
    } catch (error) {
      const todo = "move it away only if no slab of it is left in /dev/shm";
      throw new Failure(`${this.shown}/state.json: damaged; ${todo}`, ExitCode.refused, error);
    }
  }

  /** Replaces the state; it is on stable media when this returns. */
  write(state: State): void {
    this.within((base) => {
      const fd = createAnew(`${base}/state.new`);
      try {
        writeSync(fd, `${JSON.stringify(state, (key, value: unknown) => (key === "isVoid" ? undefined : value), 1)}\n`);
        fsyncSync(fd);
      } finally {
        closeSync(fd);
      }
      renameSync(`${base}/state.new`, `${base}/state.json`);
      syncDirectory(base);
    });
  }

  /**
   * Takes the lock, making the directory if needed; the descriptor keeps it. From then on all is done in that directory, whatever
   * its name leads to. Throws what `held` makes when another has the lock.
   */
  lock(held: (state: State | undefined) => Failure): number {
    try {
      for (;;) {
        const directory = this.openOrMake();
        const base = pathOfOpen(directory);
        const fd = openSync(`${base}/lock`, O.RDWR | O.CREAT | O.NOFOLLOW | O.CLOEXEC, 0o600);
        const result = takeLock(fd);
        if (result === 0 && isCurrent(fd, base)) {
          this.fd = directory;
          return fd;
        }
        closeSync(fd);
        closeSync(directory);
        if (result === -E.EWOULDBLOCK) throw held(this.read());
        if (result < 0)
          throw new Failure(
            `${this.shown}/lock: cannot be locked: ${errnoName(result)}; is it on a filesystem with locks?`,
          );
      }
    } catch (error) {
      throw error instanceof Failure ? error : this.unusable(error);
    }
  }

  /** True if a keeper or an engine holds the lock. */
  isLocked(): boolean {
    try {
      return this.within((base) => {
        const fd = openSync(`${base}/lock`, O.RDWR | O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC);
        const result = isLocked(fd);
        closeSync(fd);
        return result;
      });
    } catch {
      return false;
    }
  }

  /** Removes the files that were unlinked in use: their last user is gone. */
  removeHeld(): void {
    this.within((base) => {
      let held: number;
      try {
        held = openDirectory(`${base}/held`);
      } catch {
        return; // there were none
      }
      for (const name of readdirSync(pathOfOpen(held))) removeFile(`${pathOfOpen(held)}/${name}`);
      closeSync(held);
    });
  }

  /** Removes the state: after this, nothing is expected of a slab or a journal. */
  removeState(): void {
    this.within((base) => {
      for (const name of ["state.json", "void"]) removeFile(`${base}/${name}`);
      syncDirectory(base);
    });
  }

  /** Removes lock and directory. Call it holding the lock; what others put there stays. */
  clear(): void {
    this.within((base) => {
      for (const name of ["state.new", "lock"]) removeFile(`${base}/${name}`);
      removeIfEmpty(`${base}/held`); // a held file whose removal failed is the next mount's
    });
    removeIfEmpty(this.path);
    this.leave();
  }

  /** The lock is given up. */
  leave(): void {
    if (this.fd !== undefined) closeSync(this.fd);
    this.fd = undefined;
  }

  private openOrMake(): number {
    try {
      mkdirSync(this.path, 0o700);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error;
    }
    return openDirectory(this.path);
  }

  private unusable(error: unknown): Failure {
    const code = codeOf(error) ?? String(error);
    if (code === "ENOTDIR" || code === "ELOOP") {
      const why = "it, or a file in it, is a symbolic link or no directory, which is not followed";
      return new Failure(`${this.shown}: cannot be used: ${why}; remove that`, ExitCode.refused, error);
    }
    const what = `${this.shown}: cannot be used (${code})`;
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

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** The id of a journal that was declared void (`engine/journal.ts`). */
function voidJournal(base: string): string | undefined {
  try {
    return readText(`${base}/void`).trim();
  } catch {
    return undefined;
  }
}

/** False when the lock file was removed between our open and our flock: two daemons would each hold a lock of their own. */
function isCurrent(fd: number, base: string): boolean {
  try {
    return fstatSync(fd).ino === statSync(`${base}/lock`).ino;
  } catch {
    return false;
  }
}

function removeIfEmpty(directory: string): void {
  try {
    rmdirSync(directory);
  } catch {
    // Not there, or not empty.
  }
}
