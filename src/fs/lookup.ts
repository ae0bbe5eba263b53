/** LOOKUP, FORGET, BATCH_FORGET, GETATTR, STATX, READLINK, ACCESS, STATFS: asking. */
import { E } from "../base/errno.ts";
import { asSlot } from "../base/units.ts";
import { In, Opcode } from "../fuse/constants.ts";
import { type Handler, NO_REPLY } from "../fuse/request.ts";
import { O, S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { type Stat, spaceOf } from "../sys/stat.ts";
import type { Namespace } from "./context.ts";
import { OWN_NAME } from "./held.ts";
import { ROOT } from "./records.ts";

const LINK_BYTES_MAX = 4096;

export function lookupHandlers(fs: Namespace): Record<number, Handler> {
  return {
    [Opcode.LOOKUP]: (request, body) => {
      const name = request.name(0);
      if (request.slot === ROOT && name === OWN_NAME) return fs.options.control?.(request, body) ?? -E.ENOENT;
      const refused = fs.checkName(request.slot, name);
      return refused < 0 ? refused : fs.enter(request.slot, name, body);
    },
    [Opcode.FORGET]: (request) => {
      fs.inodes.forget(request.slot, request.u64(In.FORGET.nlookup));
      return NO_REPLY;
    },
    [Opcode.BATCH_FORGET]: (request) => {
      const { count, entries, entryBytes } = In.BATCH_FORGET;
      for (let i = 0; i < request.u32(count); i++) {
        const at = entries + i * entryBytes;
        const slot = asSlot(request.u32(at) - 1);
        if (fs.inodes.known(slot, request.u32(at + 4))) fs.inodes.forgetOfMany(slot, request.u64(at + 8));
      }
      return NO_REPLY;
    },
    [Opcode.GETATTR]: (request, body) => {
      const result = fs.read(request.slot);
      if (result === 0) fs.attributes.reply(body, request.slot, fs.stat);
      return result;
    },
    [Opcode.STATX]: (request, body) => {
      const result = fs.read(request.slot);
      if (result === 0) fs.attributes.replyStatx(body, request.slot, fs.stat);
      return result;
    },
    [Opcode.READLINK]: (request, body) => readlink(fs, request.slot, body),
    [Opcode.ACCESS]: (request) => {
      const result = fs.read(request.slot);
      return result < 0 ? result : access(fs.stat, request.u32(In.ACCESS.mask), request.uid, request.gid);
    },
    [Opcode.STATFS]: (request, body) => statfs(fs, request.slot, body),
  };
}

function readlink(fs: Namespace, slot: Parameters<Namespace["read"]>[0], body: Parameters<Handler>[1]): number {
  const dirfd = fs.inodes.directories.place(slot);
  if (dirfd < 0) return dirfd;
  const target = Buffer.alloc(LINK_BYTES_MAX);
  const length = libc.readlinkat(dirfd, fs.inodes.directories.name, target, target.length);
  if (length < 0) return length;
  body.copy(target.subarray(0, length));
  return 0;
}

/** What the mode bits allow. The kernel asks this only on mounts without `default_permissions`. */
function access(stat: Stat, mask: number, uid: number, gid: number): number {
  if (uid === 0) return (mask & 1) !== 0 && stat.type === S.IFREG && (stat.mode & 0o111) === 0 ? -E.EACCES : 0;
  const shift = uid === stat.uid ? 6 : gid === stat.gid ? 3 : 0;
  return (mask & 7 & ~(stat.mode >>> shift)) === 0 ? 0 : -E.EACCES;
}

function statfs(fs: Namespace, slot: Parameters<Namespace["read"]>[0], body: Parameters<Handler>[1]): number {
  const { directories } = fs.inodes;
  const dirfd = directories.place(slot);
  if (dirfd < 0) return dirfd;
  const isItself = directories.flags !== 0;
  const fd = isItself ? dirfd : libc.openat(dirfd, directories.name, O.PATH | O.NOFOLLOW | O.CLOEXEC, 0);
  if (fd < 0) return fd;
  const space = spaceOf(fd);
  if (!isItself) libc.close(fd);
  if (typeof space === "number") return space;
  for (const count of [space.blocks, space.bfree, space.bavail, space.files, space.ffree]) body.u64(count);
  for (const value of [space.bsize, space.namelen, space.frsize]) body.u32(value);
  body.zeros(28);
  return 0;
}
