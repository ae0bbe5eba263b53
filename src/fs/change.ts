/** SETATTR: owner, mode, size, times. */
import { E } from "../base/errno.ts";
import type { InodeSlot } from "../base/units.ts";
import { In, Opcode, SetattrValid as Valid } from "../fuse/constants.ts";
import { type Handler, PENDING, type ReplyBody, type Request } from "../fuse/request.ts";
import { AT_SYMLINK_NOFOLLOW, S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { StatxAt } from "../sys/stat.ts";
import type { Namespace } from "./context.ts";

const UNCHANGED = 0xffffffff;
const UTIME_OMIT = 0x3ffffffen;
const MODE_BITS = 0o7777;
const GROUP_EXECUTE = 0o010;

export function changeHandlers(fs: Namespace): Record<number, Handler> {
  return { [Opcode.SETATTR]: (request, body) => setattr(fs, request, body) };
}

/** What a SETATTR asks for, to be done after its request is gone. */
interface Change {
  slot: InodeSlot;
  valid: number;
  uid: number;
  gid: number;
  mode: number;
  size: number;
  times: Times;
}

function changeOf(fs: Namespace, request: Request): Change {
  const valid = request.u32(In.SETATTR.valid);
  return {
    slot: request.slot,
    valid,
    uid: valid & Valid.UID ? request.u32(In.SETATTR.uid) : UNCHANGED,
    gid: valid & Valid.GID ? request.u32(In.SETATTR.gid) : UNCHANGED,
    mode: request.u32(In.SETATTR.mode) & MODE_BITS,
    size: request.u64(In.SETATTR.size),
    times: timesOf(fs, request, valid),
  };
}

/** Owner before mode, because a new owner clears set-user-id; size before times, because a new size sets mtime. */
function setattr(fs: Namespace, request: Request, body: ReplyBody): number {
  const change = changeOf(fs, request);
  const { slot, valid, size } = change;
  const found = fs.read(slot);
  if (found < 0) return found;
  const resizes = (valid & Valid.SIZE) !== 0;
  if (resizes && fs.stat.type !== S.IFREG) return fs.stat.type === S.IFDIR ? -E.EISDIR : -E.EINVAL;
  if (resizes && size > Number.MAX_SAFE_INTEGER) return -E.EFBIG;
  const goesHome = losesSetId(fs, change);
  if (!resizes && !goesHome) {
    const result = setAtOnce(fs, change);
    if (result === 0) fs.attributes.reply(body, slot, fs.stat);
    return result;
  }
  const later = request.later();
  const end = (result: number): void => {
    if (result < 0) later.end(result);
    else later.reply((reply) => fs.attributes.reply(reply, slot, fs.stat));
  };
  const set = (): void => (resizes ? setWithSize(fs, change, end) : end(setAtOnce(fs, change)));
  if (goesHome) fs.options.data.flushHome(slot, (flushed) => (flushed < 0 ? end(flushed) : set()));
  else set();
  return PENDING;
}

/** True if what is still to be written home of the file would take set-user-id or set-group-id away that it is about to get. */
function losesSetId(fs: Namespace, { slot, valid, mode }: Change): boolean {
  if (fs.options.keepsSetId || (valid & Valid.MODE) === 0 || (mode & (S.ISUID | S.ISGID)) === 0) return false;
  return fs.stat.type === S.IFREG && fs.options.data.isDirty(slot);
}

/** All but the size; `fs.stat` is then what the file has become. */
function setAtOnce(fs: Namespace, change: Change): number {
  const changed = setOwnerAndMode(fs, change);
  const result = changed < 0 ? changed : setTimes(fs, change.slot, change.times);
  return result < 0 ? result : fs.read(change.slot);
}

/** Sets mtime even if the size stays: the kernel does not tell O_TRUNC and ftruncate, which must, from truncate, which may. */
function setWithSize(fs: Namespace, change: Change, end: (result: number) => void): void {
  const { slot, size, times } = change;
  const changed = setOwnerAndMode(fs, change);
  if (changed < 0) {
    end(changed);
    return;
  }
  fs.options.data.truncate(slot, size, (truncated) => {
    const set = truncated < 0 ? truncated : setTimes(fs, slot, times);
    end(set < 0 ? set : fs.read(slot));
  });
}

function setOwnerAndMode(fs: Namespace, { slot, valid, uid, gid, mode }: Change): number {
  if (valid & (Valid.UID | Valid.GID)) {
    const { directories } = fs.inodes;
    const dirfd = directories.place(slot);
    const result = libc.fchownat(dirfd, directories.name, uid, gid, AT_SYMLINK_NOFOLLOW | directories.flags);
    if (result < 0) return result;
    fs.options.data.attributesChanged(slot);
  }
  if (valid & Valid.MODE) return setMode(fs, slot, mode);
  return valid & Valid.KILL_SUIDGID ? killPrivileges(fs, slot) : 0;
}

function setMode(fs: Namespace, slot: InodeSlot, mode: number): number {
  const { directories } = fs.inodes;
  const dirfd = directories.place(slot);
  if (dirfd < 0) return dirfd;
  fs.options.data.attributesChanged(slot);
  if (directories.flags !== 0) return libc.fchmodat(-1, libc.cstring(`/proc/self/fd/${dirfd}`), mode, 0);
  return libc.fchmodat(dirfd, directories.name, mode, AT_SYMLINK_NOFOLLOW);
}

/** Takes set-user-id away, and set-group-id where it means that and not locking, and capabilities, as a write by somebody else does. */
export function killPrivileges(fs: Namespace, slot: InodeSlot): number {
  const found = fs.read(slot);
  if (found < 0 || fs.stat.type !== S.IFREG) return found;
  dropCapabilities(fs, slot);
  const { mode } = fs.stat;
  const lost = S.ISUID | (mode & GROUP_EXECUTE ? S.ISGID : 0);
  return mode & lost ? setMode(fs, slot, mode & MODE_BITS & ~lost) : 0;
}

/** See `ContentChanging`. */
export function contentChanging(fs: Namespace, slot: InodeSlot, keepsSetId: boolean): number {
  if (!keepsSetId) return killPrivileges(fs, slot);
  dropCapabilities(fs, slot);
  return 0;
}

function dropCapabilities(fs: Namespace, slot: InodeSlot): void {
  if (fs.capabilities.drop(slot)) fs.options.data.attributesChanged(slot);
}

/** The wanted times; undefined: leave it. */
interface Times {
  atime?: { seconds: bigint; nanoseconds: number };
  mtime?: { seconds: bigint; nanoseconds: number };
}

/** Setting the size sets the modification time, unless the request itself gives one. */
function timesOf(fs: Namespace, request: Request, valid: number): Times {
  const at = In.SETATTR;
  const civil = fs.options.clock.civil();
  const now = { seconds: BigInt(civil.seconds), nanoseconds: civil.nanoseconds };
  const times: Times = {};
  if (valid & Valid.ATIME_NOW) times.atime = now;
  else if (valid & Valid.ATIME) times.atime = { seconds: request.i64(at.atime), nanoseconds: request.u32(at.atimeNs) };
  if (valid & Valid.MTIME_NOW) times.mtime = now;
  else if (valid & Valid.MTIME) times.mtime = { seconds: request.i64(at.mtime), nanoseconds: request.u32(at.mtimeNs) };
  else if (valid & Valid.SIZE) times.mtime = now;
  return times;
}

function setTimes(fs: Namespace, slot: InodeSlot, { atime, mtime }: Times): number {
  if (atime === undefined && mtime === undefined) return 0;
  const { directories } = fs.inodes;
  const dirfd = directories.place(slot);
  if (dirfd < 0) return dirfd;
  const pair = new BigInt64Array([
    atime?.seconds ?? 0n,
    BigInt(atime?.nanoseconds ?? UTIME_OMIT),
    mtime?.seconds ?? 0n,
    BigInt(mtime?.nanoseconds ?? UTIME_OMIT),
  ]);
  const flags = AT_SYMLINK_NOFOLLOW | directories.flags;
  const set = (): number => libc.utimensat(dirfd, directories.name, new Uint8Array(pair.buffer), flags);
  const regular = (fs.inodes.records.mode(slot) & S.IFMT) === S.IFREG;
  const result = regular ? fs.options.data.besides(slot, set) : set();
  if (result < 0) return result;
  fs.options.data.attributesChanged(slot);
  return mtime !== undefined && regular ? keepSet(fs, slot) : 0;
}

/** The time of modification was set at home: it is what the filesystem has made of it, which may not have what was asked for. */
function keepSet(fs: Namespace, slot: InodeSlot): number {
  const result = fs.read(slot);
  if (result === 0) fs.options.data.mtimeSet(slot, fs.stat.mtimeSeconds, fs.stat.u32(StatxAt.mtime + 8));
  return result;
}
