/** RENAME and RENAME2. A file that is replaced keeps a name in `held` while somebody needs it. */
import { E } from "../base/errno.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import { In, Opcode, RenameFlag } from "../fuse/constants.ts";
import type { Handler, Request } from "../fuse/request.ts";
import { S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { bodySlot, type Namespace } from "./context.ts";
import { keyOf } from "./records.ts";
import { bearerOf, loseName } from "./remove.ts";

export function renameHandlers(fs: Namespace): Record<number, Handler> {
  return {
    [Opcode.RENAME]: (request) => rename(fs, request, In.RENAME.names, 0),
    [Opcode.RENAME2]: (request) => rename(fs, request, In.RENAME2.names, request.u32(In.RENAME2.flags)),
  };
}

/** One rename, looked up: where from, where to, and the records that it concerns. */
interface Move {
  parent: InodeSlot;
  name: string;
  fromFd: number;
  newParent: InodeSlot;
  newName: string;
  toFd: number;
  flags: number;
  subject: InodeSlot | undefined;
  replaced: InodeSlot | undefined;
  /** Records of the files that gain or lose a name, whatever name these bear. */
  concerned: InodeSlot[];
  replacesDirectory: boolean;
  key: string;
}

function rename(fs: Namespace, request: Request, namesAt: number, flags: number): number {
  const past = fs.memory.recall(request);
  if (past !== undefined) return past;
  if ((flags & ~(RenameFlag.NOREPLACE | RenameFlag.EXCHANGE)) !== 0) return -E.EINVAL;
  const move = look(fs, request, namesAt, flags);
  if (typeof move === "number") return move;
  const { parent, name, newParent, newName, key } = move;
  const slots = {
    ...(move.subject === undefined ? {} : { subject: move.subject }),
    ...(move.replaced === undefined ? {} : { replaced: move.replaced }),
  };
  return fs.memory.once(request, { parent, name, newParent, newName, key, flags, ...slots }, () => execute(fs, move));
}

/** The move, or the result when there is nothing to do. */
function look(fs: Namespace, request: Request, namesAt: number, flags: number): Move | number {
  const parent = request.slot;
  const name = request.name(namesAt);
  const newName = request.name(namesAt + name.length + 1);
  const to = bodySlot(fs.inodes, request, In.RENAME.newdir);
  if (to < 0) return to;
  const newParent = asSlot(to);
  const refused = Math.min(fs.checkName(parent, name), fs.checkName(newParent, newName));
  if (refused < 0) return refused;
  const fromFd = fs.directory(parent);
  const toFd = fromFd < 0 ? fromFd : fs.directory(newParent);
  if (toFd < 0) return toFd;
  const target = fs.stat.read(toFd, libc.cstring(newName));
  if (target < 0 && target !== -E.ENOENT) return target;
  const replacesDirectory = target === 0 && fs.stat.type === S.IFDIR;
  const targetKey = target === 0 ? keyOf(fs.stat) : "";
  const replaced = target === 0 ? bearerOf(fs, newParent, newName) : undefined;
  const other = target === 0 ? fs.inodes.find(fs.stat) : undefined;
  const source = fs.stat.read(fromFd, libc.cstring(name));
  if (source < 0) return source;
  const key = keyOf(fs.stat);
  if (target === 0 && (flags & RenameFlag.NOREPLACE) !== 0) return -E.EEXIST;
  if (key === targetKey) return 0; // two links of one file: POSIX has both stay
  const subject = bearerOf(fs, parent, name);
  const concerned = [fs.inodes.find(fs.stat), other].filter((slot) => slot !== undefined);
  return {
    parent,
    name,
    fromFd,
    newParent,
    newName,
    toFd,
    flags,
    subject,
    replaced,
    concerned,
    replacesDirectory,
    key,
  };
}

function execute(fs: Namespace, move: Move): number {
  const { inodes } = fs;
  const call = (): number =>
    libc.renameat2(move.fromFd, libc.cstring(move.name), move.toFd, libc.cstring(move.newName), move.flags);
  const exchanged = (move.flags & RenameFlag.EXCHANGE) !== 0;
  const result = exchanged || move.replaced === undefined ? call() : replace(fs, move, move.replaced, call);
  if (result < 0) return result;
  for (const slot of move.concerned) fs.options.data.attributesChanged(slot);
  if (move.subject !== undefined) inodes.rename(move.subject, move.newParent, move.newName);
  if (exchanged && move.replaced !== undefined) inodes.rename(move.replaced, move.parent, move.name);
  return result;
}

/**
 * Renames over a file that is in use. It gets its second name first, so that the rename itself stays atomic on the disk:
 * there is no instant, not even for a power cut, at which the target's name is missing.
 */
function replace(fs: Namespace, move: Move, replaced: InodeSlot, call: () => number): number {
  if (move.replacesDirectory) return loseName(fs, replaced, call);
  const { held } = fs.inodes;
  const heldName = held.nameOf(replaced);
  held.remove(heldName);
  const kept = libc.linkat(move.toFd, libc.cstring(move.newName), held.fd, libc.cstring(heldName), 0);
  if (kept < 0) return loseName(fs, replaced, call); // another filesystem, or one without hard links
  const result = call();
  if (result < 0) held.remove(heldName);
  else fs.inodes.unname(replaced);
  return result;
}
