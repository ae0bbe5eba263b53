/** CREATE, MKNOD, MKDIR, SYMLINK, LINK, TMPFILE: what makes names, with the caller's uid, gid and mode. */
import { E } from "../base/errno.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import { In, OPEN_KILL_SUIDGID, Opcode } from "../fuse/constants.ts";
import { type Handler, PENDING, type ReplyBody, type Request } from "../fuse/request.ts";
import { AT_SYMLINK_FOLLOW, O, S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { killPrivileges } from "./change.ts";
import { bodySlot, type Namespace } from "./context.ts";

const O_TMPFILE = 0o20000000 | O.DIRECTORY;
const MODE_BITS = 0o7777;

export function createHandlers(fs: Namespace): Record<number, Handler> {
  return {
    [Opcode.MKNOD]: (request, body) => {
      const { mode, rdev, umask, name } = In.MKNOD;
      return make(fs, request, request.name(name), body, request.u32(umask), (fd, path) =>
        libc.mknodat(fd, path, request.u32(mode), request.u32(rdev)),
      );
    },
    [Opcode.MKDIR]: (request, body) => {
      const { mode, umask, name } = In.MKDIR;
      return make(fs, request, request.name(name), body, request.u32(umask), (fd, path) =>
        libc.mkdirat(fd, path, request.u32(mode) & MODE_BITS),
      );
    },
    [Opcode.SYMLINK]: (request, body) => {
      const name = request.name(0);
      const target = libc.cstring(request.name(name.length + 1));
      return make(fs, request, name, body, 0, (fd, path) => libc.symlinkat(target, fd, path));
    },
    [Opcode.LINK]: (request, body) => link(fs, request, body),
    [Opcode.CREATE]: (request, body) => create(fs, request, body),
    [Opcode.TMPFILE]: (request, body) => temporary(fs, request, body),
  };
}

type Make = (dirfd: number, path: Buffer) => number;

/** Makes `name` in the directory that `request` names and answers with its entry. */
function make(fs: Namespace, request: Request, name: string, body: ReplyBody, umask: number, call: Make): number {
  const result = makeName(fs, request, name, umask, call);
  return result < 0 ? result : fs.enter(request.slot, name, body, true);
}

/** The same without the answer. EEXIST is told before the intent is recorded: afterwards, being there means made by us. */
function makeName(fs: Namespace, request: Request, name: string, umask: number, call: Make): number {
  const past = fs.memory.recall(request);
  if (past !== undefined) return past;
  const refused = fs.checkName(request.slot, name);
  const dirfd = refused < 0 ? refused : fs.directory(request.slot);
  if (dirfd < 0) return dirfd;
  const path = libc.cstring(name);
  const found = fs.stat.read(dirfd, path);
  if (found !== -E.ENOENT) return found === 0 ? -E.EEXIST : found;
  return fs.memory.once(request, { parent: request.slot, name }, () =>
    fs.identity.as(request.uid, request.gid, umask, () => call(dirfd, path)),
  );
}

function link(fs: Namespace, request: Request, body: ReplyBody): number {
  const name = request.name(In.LINK.name);
  const old = bodySlot(fs.inodes, request, In.LINK.oldNode);
  if (old < 0) return old;
  const { directories } = fs.inodes;
  const result = makeName(fs, request, name, 0, (dirfd, path) => {
    const from = directories.place(asSlot(old));
    if (from < 0) return from;
    if (directories.flags === 0) return libc.linkat(from, directories.name, dirfd, path, 0);
    return libc.linkat(-1, libc.cstring(`/proc/self/fd/${from}`), dirfd, path, AT_SYMLINK_FOLLOW);
  });
  if (result < 0) return result;
  fs.options.data.attributesChanged(asSlot(old));
  return fs.enter(request.slot, name, body);
}

/** The fuse_open_out that follows the entry of CREATE and TMPFILE. */
function opened(fs: Namespace, result: number, body: ReplyBody): number {
  if (result < 0) return result;
  body.u64(0);
  body.u32(fs.options.openFlags());
  body.u32(0);
  return result;
}

function create(fs: Namespace, request: Request, body: ReplyBody): number {
  const name = request.name(In.CREATE.name);
  const flags = request.u32(In.CREATE.flags);
  const mode = request.u32(In.CREATE.mode) & MODE_BITS;
  const result = makeName(fs, request, name, request.u32(In.CREATE.umask), (dirfd, path) => {
    const fd = libc.openat(dirfd, path, O.CREAT | O.EXCL | O.WRONLY | O.NOFOLLOW | O.CLOEXEC, mode);
    return fd < 0 ? fd : libc.close(fd);
  });
  if (result === -E.EEXIST && (flags & O.EXCL) === 0) return openExisting(fs, request, name, flags, body);
  return opened(fs, result < 0 ? result : fs.enter(request.slot, name, body, true), body);
}

/** CREATE of a file that is there already: another client made it since the kernel looked. */
function openExisting(fs: Namespace, request: Request, name: string, flags: number, body: ReplyBody): number {
  const result = fs.enter(request.slot, name, body);
  if (result < 0) return result;
  const slot = asSlot(body.view.getUint32(0, true) - 1);
  const refused = fs.stat.type === S.IFREG ? 0 : fs.stat.type === S.IFDIR ? -E.EISDIR : -E.ESTALE;
  if (refused < 0) {
    fs.inodes.forget(slot, 1);
    return refused;
  }
  if (request.u32(In.CREATE.openFlags) & OPEN_KILL_SUIDGID) killPrivileges(fs, slot);
  if ((flags & O.TRUNC) === 0 || fs.stat.size === 0) return opened(fs, 0, body);
  return truncateThenAnswer(fs, request, slot);
}

function truncateThenAnswer(fs: Namespace, request: Request, slot: InodeSlot): number {
  const later = request.later();
  fs.options.data.truncate(slot, 0, (truncated) => {
    const result = truncated < 0 ? truncated : fs.read(slot);
    if (result === 0) {
      later.reply((body) => {
        fs.attributes.entry(body, slot, fs.stat);
        opened(fs, 0, body);
      });
      return;
    }
    fs.inodes.forget(slot, 1);
    later.end(result);
  });
  return PENDING;
}

/**
 * A file without a name: O_TMPFILE in the directory, so that owner and access are inherited right; then it lies in `held`. In a
 * filesystem that is mounted further down it cannot: O_TMPFILE is not supported there.
 */
function temporary(fs: Namespace, request: Request, body: ReplyBody): number {
  const { inodes, memory } = fs;
  const known = memory.recall(request) === 0 ? memory.subjectOf(request) : undefined;
  if (known !== undefined) return opened(fs, enterHeld(fs, asSlot(known), body), body);
  const dirfd = fs.directory(request.slot);
  if (dirfd < 0) return dirfd;
  const mode = request.u32(In.CREATE.mode) & MODE_BITS;
  let slot = -1;
  const result = memory.once(request, {}, () => {
    const flags = O_TMPFILE | O.RDWR | O.CLOEXEC;
    const open = (): number => libc.openat(dirfd, libc.cstring("."), flags, mode);
    const fd = fs.identity.as(request.uid, request.gid, request.u32(In.CREATE.umask), open);
    if (fd < 0) return fd;
    slot = holdTemporary(fs, fd);
    if (slot === -E.EXDEV) slot = -E.EOPNOTSUPP;
    libc.close(fd);
    if (slot >= 0) inodes.retain(asSlot(slot));
    if (slot >= 0) memory.subjectKnown(request, asSlot(slot));
    return Math.min(slot, 0);
  });
  return result < 0 ? result : opened(fs, enterHeld(fs, asSlot(slot), body), body);
}

function holdTemporary(fs: Namespace, fd: number): number {
  const { held } = fs.inodes;
  const path = libc.cstring(`/proc/self/fd/${fd}`);
  return fs.inodes.internHeld(fd, (name) => {
    held.remove(name);
    return libc.linkat(-1, path, held.fd, libc.cstring(name), AT_SYMLINK_FOLLOW);
  });
}

/** The answer's entry; its look-up was counted when the record was made. */
function enterHeld(fs: Namespace, slot: InodeSlot, body: ReplyBody): number {
  const result = fs.read(slot);
  if (result === 0) fs.attributes.entry(body, slot, fs.stat);
  return result;
}
