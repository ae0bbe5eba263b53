/** UNLINK and RMDIR. A file that the kernel or dirty data still needs is moved to `held` instead of removed. */
import { E } from "../base/errno.ts";
import type { InodeSlot } from "../base/units.ts";
import { Opcode } from "../fuse/constants.ts";
import type { Handler, Request } from "../fuse/request.ts";
import { AT_REMOVEDIR, S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import type { Namespace } from "./context.ts";
import { keyOf } from "./records.ts";

export function removeHandlers(fs: Namespace): Record<number, Handler> {
  return {
    [Opcode.UNLINK]: (request) => remove(fs, request, unlink),
    [Opcode.RMDIR]: (request) => remove(fs, request, rmdir),
  };
}

type Remove = (fs: Namespace, dirfd: number, path: Buffer, slot: InodeSlot | undefined) => number;

function remove(fs: Namespace, request: Request, call: Remove): number {
  const past = fs.memory.recall(request);
  if (past !== undefined) return past;
  const name = request.name(0);
  const refused = fs.checkName(request.slot, name);
  const dirfd = refused < 0 ? refused : fs.directory(request.slot);
  if (dirfd < 0) return dirfd;
  const path = libc.cstring(name);
  const found = fs.stat.read(dirfd, path);
  if (found < 0) return found;
  const known = fs.inodes.find(fs.stat);
  const slot = bearerOf(fs, request.slot, name);
  const intent = { parent: request.slot, name, key: keyOf(fs.stat), ...(slot === undefined ? {} : { subject: slot }) };
  return fs.memory.once(request, intent, () => {
    const result = call(fs, dirfd, path, slot);
    if (result === 0 && known !== undefined) fs.options.data.attributesChanged(known); // a flush by another link makes it durable
    return result;
  });
}

/** The record, if any, that would lose its own name with `name` in `parent`; other links of its file do not matter to it. */
export function bearerOf(fs: Namespace, parent: InodeSlot, name: string): InodeSlot | undefined {
  const slot = fs.inodes.find(fs.stat);
  return slot !== undefined && fs.inodes.bears(slot, parent, name) ? slot : undefined;
}

/** `held` lies on another filesystem, or has no room for one more name: on a full disk files must go all the same. */
const HELD_REFUSALS = [-E.EXDEV, -E.ENOSPC, -E.EDQUOT];

const unlink: Remove = (fs, dirfd, path, slot) => {
  if (fs.stat.type === S.IFDIR) return -E.EISDIR;
  if (slot === undefined) return libc.unlinkat(dirfd, path, 0);
  const { inodes } = fs;
  const moved = libc.renameat2(dirfd, path, inodes.held.fd, libc.cstring(inodes.held.nameOf(slot)), 0);
  if (moved === 0) inodes.unname(slot);
  return HELD_REFUSALS.includes(moved) ? loseName(fs, slot, () => libc.unlinkat(dirfd, path, 0)) : moved;
};

const rmdir: Remove = (fs, dirfd, path, slot) => {
  const call = (): number => libc.unlinkat(dirfd, path, AT_REMOVEDIR);
  return slot === undefined ? call() : loseName(fs, slot, call);
};

/** Does `call`, which takes the last name of `slot`, so that a descriptor still leads to it; that does not outlive the engine. */
export function loseName(fs: Namespace, slot: InodeSlot, call: () => number): number {
  const kept = fs.inodes.directories.keepNameless(slot);
  if (kept < 0) return kept;
  const result = call();
  if (result < 0) fs.inodes.directories.dropNameless(slot);
  else fs.inodes.unname(slot);
  return result;
}
