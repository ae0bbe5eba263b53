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

/** Owner before mode, because a new owner clears set-user-id; size before times, because a new size sets mtime. */
function setattr(fs: Namespace, request: Request, body: ReplyBody): number {
  const valid = request.u32(In.SETATTR.valid);
  const slot = request.slot;
  const found = fs.read(slot);
  if (found < 0) return found;
  const changed = setOwnerAndMode(fs, request, slot, valid);
  if (changed < 0) return changed;
  if (valid & Valid.SIZE && fs.stat.type !== S.IFREG) return fs.stat.type === S.IFDIR ? -E.EISDIR : -E.EINVAL;
  if (valid & Valid.SIZE) return setSize(fs, request, slot, valid);
  const result = setTimes(fs, slot, timesOf(fs, request, valid, false));
  return result < 0 ? result : answer(fs, slot, body);
}

function answer(fs: Namespace, slot: InodeSlot, body: ReplyBody): number {
  const result = fs.read(slot);
  if (result === 0) fs.attributes.reply(body, slot, fs.stat);
  return result;
}

function setOwnerAndMode(fs: Namespace, request: Request, slot: InodeSlot, valid: number): number {
  if (valid & (Valid.UID | Valid.GID)) {
    const uid = valid & Valid.UID ? request.u32(In.SETATTR.uid) : UNCHANGED;
    const gid = valid & Valid.GID ? request.u32(In.SETATTR.gid) : UNCHANGED;
    const { directories } = fs.inodes;
    const dirfd = directories.place(slot);
    const result = libc.fchownat(dirfd, directories.name, uid, gid, AT_SYMLINK_NOFOLLOW | directories.flags);
    if (result < 0) return result;
    fs.options.data.attributesChanged(slot);
  }
  if (valid & Valid.MODE) return setMode(fs, slot, request.u32(In.SETATTR.mode) & MODE_BITS);
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

/** Takes set-user-id away, and set-group-id where it means that and not locking, as a write by somebody else does. */
export function killPrivileges(fs: Namespace, slot: InodeSlot): number {
  const found = fs.read(slot);
  if (found < 0 || fs.stat.type !== S.IFREG) return found;
  const { mode } = fs.stat;
  const lost = S.ISUID | (mode & GROUP_EXECUTE ? S.ISGID : 0);
  return mode & lost ? setMode(fs, slot, mode & MODE_BITS & ~lost) : 0;
}

/** The wanted times; undefined: leave it. */
interface Times {
  atime?: { seconds: bigint; nanoseconds: number };
  mtime?: { seconds: bigint; nanoseconds: number };
}

/** `resized`: setting the size sets the modification time, unless the request itself gives one. */
function timesOf(fs: Namespace, request: Request, valid: number, resized: boolean): Times {
  const at = In.SETATTR;
  const civil = fs.options.clock.civil();
  const now = { seconds: BigInt(civil.seconds), nanoseconds: civil.nanoseconds };
  const times: Times = {};
  if (valid & Valid.ATIME_NOW) times.atime = now;
  else if (valid & Valid.ATIME) times.atime = { seconds: request.i64(at.atime), nanoseconds: request.u32(at.atimeNs) };
  if (valid & Valid.MTIME_NOW) times.mtime = now;
  else if (valid & Valid.MTIME) times.mtime = { seconds: request.i64(at.mtime), nanoseconds: request.u32(at.mtimeNs) };
  else if (resized) times.mtime = now;
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

/** Sets mtime even if the size stays: the kernel does not tell O_TRUNC and ftruncate, which must, from truncate, which may. */
function setSize(fs: Namespace, request: Request, slot: InodeSlot, valid: number): number {
  const size = request.u64(In.SETATTR.size);
  if (size > Number.MAX_SAFE_INTEGER) return -E.EFBIG;
  const times = timesOf(fs, request, valid, true);
  const later = request.later();
  fs.options.data.truncate(slot, size, (truncated) => {
    const set = truncated < 0 ? truncated : setTimes(fs, slot, times);
    const result = set < 0 ? set : fs.read(slot);
    if (result < 0) later.end(result);
    else later.reply((body) => fs.attributes.reply(body, slot, fs.stat));
  });
  return PENDING;
}
