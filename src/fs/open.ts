/** OPEN, RELEASE, OPENDIR, RELEASEDIR, FSYNCDIR. Handles carry nothing: a new engine has nothing to restore. */
import { E } from "../base/errno.ts";
import type { InodeSlot } from "../base/units.ts";
import { FSYNC_DATA_ONLY, In, Opcode } from "../fuse/constants.ts";
import { type Handler, PENDING, type ReplyBody, type Request } from "../fuse/request.ts";
import { O, S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import type { Namespace } from "./context.ts";
import { NO_PARENT, ROOT } from "./records.ts";

export function openHandlers(fs: Namespace): Record<number, Handler> {
  return {
    [Opcode.OPEN]: (request, body) => open(fs, request, body),
    [Opcode.OPENDIR]: (request, body) => {
      const result = fs.read(request.slot);
      if (result < 0) return result;
      return fs.stat.type === S.IFDIR ? reply(body, 0) : -E.ENOTDIR;
    },
    [Opcode.RELEASE]: () => 0,
    [Opcode.RELEASEDIR]: () => 0,
    [Opcode.FSYNCDIR]: (request) => syncDirectory(fs, request),
  };
}

function reply(body: ReplyBody, flags: number): number {
  body.u64(0);
  body.u32(flags);
  body.u32(0);
  return 0;
}

function open(fs: Namespace, request: Request, body: ReplyBody): number {
  const flags = request.u32(In.OPEN.flags);
  const result = (flags & O.ACCMODE) === O.RDONLY ? fs.read(request.slot) : tryWriting(fs, request);
  return result < 0 ? result : reply(body, fs.options.openFlags());
}

/**
 * A file that can't be written at home (read-only filesystem, immutable, running) must say so now, not at writeback. So must one that
 * can only be appended to: what goes home is not in the order in which it was written.
 */
function tryWriting(fs: Namespace, request: Request): number {
  const found = fs.read(request.slot);
  if (found < 0 || fs.stat.type !== S.IFREG) return found;
  const { directories } = fs.inodes;
  const dirfd = directories.place(request.slot);
  const direct = directories.flags === 0;
  const path = direct ? directories.name : libc.cstring(`/proc/self/fd/${dirfd}`);
  const wanted = O.WRONLY | O.CLOEXEC | O.NONBLOCK | (direct ? O.NOFOLLOW : 0);
  const fd = libc.openat(dirfd, path, wanted, 0);
  return fd < 0 ? fd : libc.close(fd);
}

function syncDirectory(fs: Namespace, request: Request): number {
  const dirfd = fs.directory(request.slot);
  const fd = dirfd < 0 ? dirfd : libc.openat(dirfd, libc.cstring("."), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0);
  // A removed directory has no entries that could be lost; whether it can be opened anew is the filesystem's affair.
  if (fd < 0) return wasRemoved(fs, request.slot) ? 0 : fd;
  const later = request.later();
  const dataOnly = (request.u32(In.FSYNC.flags) & FSYNC_DATA_ONLY) !== 0;
  fs.options.io.fsync(fd, dataOnly, (result) => {
    libc.close(fd);
    later.end(result);
  });
  return PENDING;
}

/** True if the directory `slot` was removed through the mount; after a kill of the engine nothing leads to it any more. */
const wasRemoved = (fs: Namespace, slot: InodeSlot): boolean =>
  slot !== ROOT && fs.inodes.records.parent(slot) === NO_PARENT;
