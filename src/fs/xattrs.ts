/** GETXATTR, SETXATTR, LISTXATTR, REMOVEXATTR. */
import { existsSync } from "node:fs";
import { E } from "../base/errno.ts";
import type { InodeSlot } from "../base/units.ts";
import { In, Opcode } from "../fuse/constants.ts";
import { type Handler, IN_HEADER_BYTES, PENDING, type ReplyBody, type Request } from "../fuse/request.ts";
import { S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { getXattr, listXattr, removeXattr, setXattr } from "../sys/xattr.ts";
import { CAPABILITY } from "./capabilities.ts";
import type { Namespace } from "./context.ts";

const ACCESS_LISTS = "system.posix_acl_";
const SELINUX_LABEL = "security.selinux";
/** Seen by root alone. */
const TRUSTED = "trusted.";
/** Of a value, and of a list of names. */
const VALUE_BYTES_MAX = 65536;

type Use = (dirfd: number, name: Buffer) => number;

export function xattrHandlers(fs: Namespace): Record<number, Handler> {
  const withoutLabels = !existsSync("/sys/fs/selinux/enforce");
  const value = Buffer.alloc(VALUE_BYTES_MAX);

  /**
   * EOPNOTSUPP for namespaces that mean nothing here, so that `ls -l` asks once and not for every file: labels on a host
   * without SELinux; access lists unless the kernel enforces them on this mount (a list that is shown and not obeyed would lie).
   */
  const supported = (key: string): boolean => {
    if (key === SELINUX_LABEL) return !withoutLabels;
    return !key.startsWith(ACCESS_LISTS) || fs.options.accessLists();
  };
  const at = (slot: InodeSlot, key: string, use: Use): number => {
    if (!supported(key)) return -E.EOPNOTSUPP;
    const dirfd = fs.inodes.directories.place(slot);
    return dirfd < 0 ? dirfd : use(dirfd, fs.inodes.directories.name);
  };
  const changed = (slot: InodeSlot, result: number): number => {
    if (result === 0) fs.options.data.attributesChanged(slot);
    return result;
  };
  return {
    [Opcode.GETXATTR]: (request, body) => {
      const key = request.name(In.GETXATTR.name);
      const wanted = request.u32(In.GETXATTR.size);
      return answer(value, wanted, body, (room) =>
        at(request.slot, key, (dirfd, name) => getXattr(dirfd, name, libc.cstring(key), room)),
      );
    },
    [Opcode.LISTXATTR]: (request, body) => {
      const isShown = (key: string): boolean => supported(key) && (request.uid === 0 || !key.startsWith(TRUSTED));
      return answer(value, request.u32(In.LISTXATTR.size), body, (room) => {
        const all = at(request.slot, "", (dirfd, name) => listXattr(dirfd, name, value));
        const shown = all < 0 ? all : keep(value, all, isShown);
        return room !== null && shown > room.length ? -E.ERANGE : shown;
      });
    },
    [Opcode.SETXATTR]: (request) => {
      const key = request.name(In.SETXATTR.name);
      const from = IN_HEADER_BYTES + In.SETXATTR.name + key.length + 1;
      const size = request.u32(In.SETXATTR.size);
      if (from + size > request.length) return -E.EINVAL;
      const { slot } = request;
      const flags = request.u32(In.SETXATTR.flags);
      const bytes = Buffer.from(request.bytes.subarray(from, from + size));
      const set = (): number =>
        changed(
          slot,
          at(slot, key, (dirfd, name) => setXattr(dirfd, name, libc.cstring(key), bytes, flags)),
        );
      return key === CAPABILITY ? giveCapability(fs, request, set) : set();
    },
    [Opcode.REMOVEXATTR]: (request) => {
      const key = request.name(0);
      return changed(
        request.slot,
        at(request.slot, key, (dirfd, name) => removeXattr(dirfd, name, libc.cstring(key))),
      );
    },
  };
}

/** `set` gives the request's file capabilities: once its data is home, for writing that takes them away. */
function giveCapability(fs: Namespace, request: Request, set: () => number): number {
  const { slot } = request;
  const give = (): number => {
    fs.capabilities.giving(slot);
    return set();
  };
  const isRegular = (fs.inodes.records.mode(slot) & S.IFMT) === S.IFREG;
  if (!isRegular || !fs.options.data.isDirty(slot)) return give();
  const later = request.later();
  fs.options.data.flushHome(slot, (flushed) => later.end(flushed < 0 ? flushed : give()));
  return PENDING;
}

/** Takes the names that are not `wanted` out of `list`, NUL after each, of which `length` bytes are used; how many are then. */
function keep(list: Buffer, length: number, wanted: (name: string) => boolean): number {
  const names = list.toString("latin1", 0, length).split("\0").slice(0, -1);
  return list.write(names.map((name) => (wanted(name) ? `${name}\0` : "")).join(""), "latin1");
}

/** Size 0 asks how long the value is; else it must fit in `wanted` bytes, or ERANGE. */
function answer(value: Buffer, wanted: number, body: ReplyBody, call: (room: Buffer | null) => number): number {
  const length = call(wanted === 0 ? null : value.subarray(0, Math.min(wanted, VALUE_BYTES_MAX)));
  if (length < 0) return length;
  if (wanted !== 0) {
    body.copy(value.subarray(0, length));
    return 0;
  }
  body.u32(length);
  body.u32(0);
  return 0;
}
