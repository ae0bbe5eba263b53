/**
 * The journal file before an engine has it: what lies at its place, how it is made, and how it ends. Beside the state it is a
 * file of our own, `journal`; at a place that the user gave it may be a block device too, which is used whole. A file is
 * removed when all is home, of a device both ends are overwritten with zeros: by that it is known as free to use.
 */
import { fstatSync, ftruncateSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { JOURNAL_WRITTEN_BYTES } from "../base/limits.ts";
import { formatSize } from "../base/size.ts";
import { PositionedFile } from "../device/positioned-file.ts";
import { RING_AT, SUPERBLOCK_BYTES } from "../journal/layout.ts";
import { scan } from "../journal/scan.ts";
import {
  encodeSuperblock,
  type JournalState,
  newSuperblock,
  readSuperblocks,
  type Superblock,
} from "../journal/superblock.ts";
import { O, SEEK_DATA, SEEK_HOLE } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { isLocked, takeLock } from "../sys/lock.ts";
import { syncDirectory } from "../sys/own-files.ts";
import type { StateDirectory } from "./state.ts";

const MiB = 2 ** 20;
/** At each end of a block device that was ours. */
const WIPED_BYTES = MiB;

/** Where a journal lies. */
export interface JournalPlace {
  /** As the state has it: empty for the place beside it. */
  readonly path: string;
  /** To open it. */
  readonly real: string;
  /** For messages. */
  readonly shown: string;
}

export function placeOf(path: string, states: StateDirectory): JournalPlace {
  return path === "" ? { path, real: states.journal, shown: states.shownJournal } : { path, real: path, shown: path };
}

/** What lies at a place: nothing; something that can hold no data of anybody; a journal, good or not; something else. */
export type Condition = "absent" | "other" | JournalState;

export interface Look {
  readonly condition: Condition;
  /** Of a good journal. */
  readonly superblock?: Superblock;
  /** Undefined if it could not be opened; the caller closes it. */
  readonly file?: PositionedFile;
  /** An engine or a keeper has it open. */
  readonly isBusy?: boolean;
}

/**
 * Looks at what lies at `place`. Throws a `Failure` when that may not be opened. `flags`: O.RDWR, with which it is locked, or
 * O.RDONLY, which keeps nobody from mounting meanwhile.
 */
export function look(place: JournalPlace, flags: number): Look {
  const own = place.path === "" ? O.NOFOLLOW : 0;
  const alone = flags === O.RDWR ? O.EXCL : 0; // of a device: nobody else has it, and no filesystem on it is mounted
  const file = PositionedFile.open(place.real, flags | own | alone | O.NONBLOCK | O.CLOEXEC);
  if (file === -E.ENOENT) return { condition: "absent" };
  if (file === -E.ELOOP || file === -E.EISDIR || file === -E.ENXIO) return { condition: "other" };
  if (file === -E.EIO) return { condition: "unreadable" };
  if (typeof file === "number") throw notOpened(place, file);
  try {
    if (!file.isDevice && !fstatSync(file.fd).isFile()) return { condition: "other", file };
    const isBusy = flags === O.RDWR ? takeLock(file.fd) === -E.EWOULDBLOCK : isLocked(file.fd);
    const { state, superblock } = readSuperblocks(file);
    const condition = state === "blank" && !isBlank(file) ? "alien" : state;
    return { condition, file, isBusy, ...(superblock === undefined ? {} : { superblock }) };
  } catch (error) {
    file.close();
    throw error;
  }
}

/** True if nothing but zeros is in a file; in a device, at both its ends, where whatever uses one says so. */
function isBlank(file: PositionedFile): boolean {
  const { size } = file;
  if (file.isDevice) return isZero(file, 0, WIPED_BYTES) && isZero(file, Math.max(0, size - WIPED_BYTES), size);
  for (let at = 0; at < size; ) {
    const from = libc.lseek(file.fd, at, SEEK_DATA);
    if (from === -E.ENXIO) return true;
    const to = from < 0 ? size : libc.lseek(file.fd, from, SEEK_HOLE);
    if (!isZero(file, Math.max(from, at), to < 0 ? size : to)) return false;
    at = to < 0 ? size : to;
  }
  return true;
}

function isZero(file: PositionedFile, from: number, to: number): boolean {
  const buffer = Buffer.alloc(MiB);
  const zeros = Buffer.alloc(MiB);
  for (let at = from; at < to; at += MiB) {
    const piece = buffer.subarray(0, Math.min(MiB, to - at));
    const got = file.read(at, piece);
    if (got < 0 || !piece.subarray(0, got).equals(zeros.subarray(0, got))) return false;
  }
  return true;
}

/** True if a good journal's log has nothing, so that nothing is lost with it. */
export function isEmptyLog(file: PositionedFile, superblock: Superblock): boolean {
  const { commits, verdict } = scan(file, superblock);
  return commits.length === 0 && (verdict === "end" || verdict === "torn");
}

export interface NewJournal {
  readonly place: JournalPlace;
  /** What `look` opened, when something blank lies there already. */
  readonly file: PositionedFile | undefined;
  /** Of a device: all of it. */
  readonly bytes: number;
  readonly id: string;
  /** The real path of the backing directory. */
  readonly backing: string;
  readonly nowMs: number;
}

/** Makes a journal; it is on stable media when this returns. Throws a `Failure`, and removes what it made. */
export function createJournal(made: NewJournal): PositionedFile {
  const { place } = made;
  const flags = O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC;
  const file = made.file ?? PositionedFile.open(place.real, flags, 0o600);
  if (typeof file === "number") throw notOpened(place, file);
  try {
    fill(file, made);
    return file;
  } catch (error) {
    if (made.file === undefined) rmSync(place.real, { force: true });
    else if (!file.isDevice) ftruncateSync(file.fd, 0);
    file.close();
    throw error;
  }
}

function fill(file: PositionedFile, { place, bytes, id, backing, nowMs }: NewJournal): void {
  const must = (result: number): void => {
    if (result < 0) throw notMade(place, bytes, result);
  };
  takeLock(file.fd);
  if (!file.isDevice) {
    ftruncateSync(file.fd, 0);
    const allocated = libc.fallocate(file.fd, 0, 0, bytes);
    // A filesystem that cannot allocate ahead tells of a full disk at the first commit, which then goes home.
    if (allocated === -E.EOPNOTSUPP) ftruncateSync(file.fd, bytes);
    else must(allocated);
  }
  const zeros = Buffer.alloc(MiB);
  const end = Math.min(bytes, RING_AT + JOURNAL_WRITTEN_BYTES);
  for (let at = 0; at < end; at += MiB) must(file.write(at, zeros.subarray(0, Math.min(MiB, end - at))));
  must(file.flush());
  const superblock = newSuperblock(id, bytes, backing, nowMs);
  const block = Buffer.alloc(SUPERBLOCK_BYTES);
  for (let slot = 0; slot < 2; slot++) {
    superblock.generation = slot;
    encodeSuperblock(superblock, block);
    must(file.write(slot * SUPERBLOCK_BYTES, block));
  }
  must(file.flush());
  if (!file.isDevice) syncDirectory(dirname(place.real));
}

/** Ends a journal: all that it held is home. `file` is closed. */
export function endJournal(place: JournalPlace, file: PositionedFile): void {
  if (file.isDevice) wipe(place, file);
  file.close();
  if (file.isDevice) return;
  rmSync(place.real, { force: true });
  syncDirectory(dirname(place.real));
}

function wipe(place: JournalPlace, file: PositionedFile): void {
  const zeros = Buffer.alloc(WIPED_BYTES);
  for (const at of [0, Math.max(0, file.size - WIPED_BYTES)]) {
    const result = file.write(at, zeros);
    if (result < 0) throw new Failure(`${place.shown}: cannot be written: ${errnoName(result)}; see its device`);
  }
  file.flush();
}

function notOpened(place: JournalPlace, result: number): Failure {
  const what = `${place.shown}: the journal cannot be opened (${errnoName(result)})`;
  if (result === -E.EACCES || result === -E.EPERM)
    return new Failure(`${what}: permission denied; run as root, or give another --journal`, ExitCode.forbidden);
  if (result === -E.EROFS)
    return new Failure(`${what}: the filesystem is read-only; remount it writable, or give another --journal`);
  if (result === -E.EBUSY)
    return new Failure(`${what}: the device is in use; give another --journal`, ExitCode.refused);
  return new Failure(`${what}; give a --journal in a directory that exists and is writable`);
}

export function notMade({ shown }: JournalPlace, bytes: number, result: number): Failure {
  const todo =
    result === -E.ENOSPC || result === -E.EDQUOT ? "free some, or give a smaller --journal-size" : "see its device";
  return new Failure(
    `${shown}: a journal of ${formatSize(bytes)} cannot be made (${errnoName(result)}); ${todo}, or another --journal`,
  );
}
