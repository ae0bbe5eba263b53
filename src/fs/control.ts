/**
 * The virtual directory `.hypegear` in the root of the mount: statistics to read, and a file that takes commands. It serves
 * all requests to inode slots from INODES_MAX on. Nothing here answers ENOSYS but for what no file of the mount has: the
 * kernel takes it for the whole mount.
 */
import type { Clock } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { INODES_MAX } from "../base/limits.ts";
import type { InodeSlot } from "../base/units.ts";
import { In, Opcode, OpenReply, SetattrValid } from "../fuse/constants.ts";
import type { ReplyBody, Request } from "../fuse/request.ts";
import { NO_REPLY, type Outcome } from "../fuse/request.ts";
import { O } from "../sys/constants.ts";
import { ControlChannel } from "./control-channel.ts";
import type { ControlCommands } from "./control-commands.ts";
import {
  COMMANDS,
  CONTROL_NODES,
  ControlAttributes,
  type ControlFile,
  type ControlNode,
  DIRECTORY,
} from "./control-nodes.ts";
import { Snapshots } from "./control-snapshots.ts";

export interface ControlContext {
  /** The mounting user: beside root the only one who may give commands. */
  readonly uid: number;
  readonly gid: number;
  readonly clock: Clock;
  readonly commands: ControlCommands;
  /** Renders a file as of now. */
  readonly contents: Readonly<Record<ControlFile, () => string>>;
  /** The bytes of the WRITE being handled; read before the handler returns. */
  payload(): Buffer;
}

const W_OK = 2;
const X_OK = 1;

type NodeHandler = (request: Request, body: ReplyBody, node: ControlNode) => Outcome;

/** True for a slot that this directory, not the slab, has. */
export const isControlSlot = (slot: InodeSlot): boolean => slot >= INODES_MAX;

export class ControlDirectory {
  private readonly context: ControlContext;
  private readonly attributes: ControlAttributes;
  private readonly snapshots = new Snapshots();
  private readonly channel: ControlChannel;
  private readonly handlers: ReadonlyMap<number, NodeHandler>;

  constructor(context: ControlContext) {
    this.context = context;
    this.attributes = new ControlAttributes(context.uid, context.gid, context.clock);
    this.channel = new ControlChannel(context.commands);
    this.handlers = this.table();
  }

  /** Answers the LOOKUP of CONTROL_NAME in the mount's root, and writes its entry in a READDIRPLUS of it. */
  lookupRoot(_request: Request, body: ReplyBody): Outcome {
    this.attributes.entry(body, DIRECTORY);
    return 0;
  }

  /** Serves a request whose slot `isControlSlot`, or the LOOKUP of CONTROL_NAME in the root. */
  handle(request: Request, body: ReplyBody): Outcome {
    if (!isControlSlot(request.slot) && request.opcode === Opcode.LOOKUP) return this.lookupRoot(request, body);
    const node = CONTROL_NODES[request.slot - INODES_MAX];
    if (node === undefined) return -E.ESTALE;
    return this.handlers.get(request.opcode)?.(request, body, node) ?? -E.EPERM;
  }

  /** What has no row is forbidden. */
  private table(): ReadonlyMap<number, NodeHandler> {
    const nothing: NodeHandler = () => 0;
    return new Map<number, NodeHandler>([
      [Opcode.LOOKUP, (request, body, node) => this.lookup(request, body, node)],
      [Opcode.FORGET, () => NO_REPLY],
      [Opcode.GETATTR, (_, body, node) => this.reply(body, node)],
      [Opcode.STATX, (_, body, node) => this.statx(body, node)],
      [Opcode.SETATTR, (request, body, node) => this.setattr(request, body, node)],
      [Opcode.ACCESS, (request, _, node) => this.access(request, node)],
      [Opcode.OPEN, (request, body, node) => this.open(request, body, node)],
      [Opcode.READ, (request, body, node) => this.read(request, body, node)],
      [Opcode.WRITE, (request, body, node) => this.write(request, body, node)],
      [Opcode.FLUSH, nothing],
      [Opcode.FSYNC, nothing],
      [Opcode.RELEASE, (request) => this.release(request)],
      [Opcode.OPENDIR, (_, body) => opened(body, 0, 0)],
      [Opcode.READDIR, (request, body, node) => this.list(request, body, node, false)],
      [Opcode.READDIRPLUS, (request, body, node) => this.list(request, body, node, true)],
      [Opcode.RELEASEDIR, nothing],
      [Opcode.FSYNCDIR, nothing],
      [Opcode.GETXATTR, () => -E.ENODATA],
      [Opcode.LISTXATTR, (request, body) => noNames(request, body)],
      [Opcode.LSEEK, () => -E.ENXIO],
      [Opcode.IOCTL, () => -E.ENOTTY],
      [Opcode.FALLOCATE, () => -E.EOPNOTSUPP],
      // Makes the kernel copy by reading and writing.
      [Opcode.COPY_FILE_RANGE, () => -E.EOPNOTSUPP],
      [Opcode.COPY_FILE_RANGE_64, () => -E.EOPNOTSUPP],
      [Opcode.POLL, () => -E.ENOSYS],
      [Opcode.BMAP, () => -E.ENOSYS],
    ]);
  }

  private lookup(request: Request, body: ReplyBody, parent: ControlNode): Outcome {
    if (parent !== DIRECTORY) return -E.ENOTDIR;
    const name = request.name(0);
    const node = CONTROL_NODES.find((candidate) => candidate !== DIRECTORY && candidate.name === name);
    if (node === undefined) return -E.ENOENT;
    this.attributes.entry(body, node);
    return 0;
  }

  private reply(body: ReplyBody, node: ControlNode): Outcome {
    this.attributes.reply(body, node);
    return 0;
  }

  private statx(body: ReplyBody, node: ControlNode): Outcome {
    this.attributes.statx(body, node);
    return 0;
  }

  /** Shells truncate what they redirect to; nothing else can be set. */
  private setattr(request: Request, body: ReplyBody, node: ControlNode): Outcome {
    const valid = request.u32(In.SETATTR.valid);
    const owned = SetattrValid.MODE | SetattrValid.UID | SetattrValid.GID;
    const truncates = (valid & SetattrValid.SIZE) !== 0 && request.u64(In.SETATTR.size) === 0;
    if (node !== COMMANDS || !truncates || (valid & owned) !== 0) return -E.EPERM;
    return this.mayCommand(request) ? this.reply(body, node) : -E.EACCES;
  }

  private access(request: Request, node: ControlNode): Outcome {
    const mask = request.u32(In.ACCESS.mask);
    if ((mask & X_OK) !== 0 && node !== DIRECTORY) return -E.EACCES;
    if (node === COMMANDS) return this.mayCommand(request) ? 0 : -E.EACCES;
    return (mask & W_OK) === 0 ? 0 : -E.EACCES;
  }

  /** The handle is the OPEN's own number: no later engine gives it again to another. */
  private open(request: Request, body: ReplyBody, node: ControlNode): Outcome {
    const fh = request.uniqueHigh * 2 ** 32 + request.uniqueLow;
    if (node === COMMANDS) {
      if (!this.mayCommand(request)) return -E.EACCES;
      // A stream has no position: the answer is read from its start, however long the command was.
      return this.channel.open(fh) || opened(body, fh, OpenReply.DIRECT_IO | OpenReply.STREAM | OpenReply.NONSEEKABLE);
    }
    const flags = request.u32(In.OPEN.flags);
    if (node === DIRECTORY) return -E.EISDIR;
    if ((flags & O.ACCMODE) !== O.RDONLY || (flags & O.TRUNC) !== 0) return -E.EACCES;
    return opened(body, fh, OpenReply.DIRECT_IO);
  }

  private read(request: Request, body: ReplyBody, node: ControlNode): Outcome {
    const fh = request.u64(In.READ.fh);
    const size = Math.min(request.u32(In.READ.size), body.capacity);
    const found = node === COMMANDS ? this.channel.read(fh, size) : this.content(request, node);
    if (typeof found === "number") return found;
    body.copy(found.subarray(0, size));
    return 0;
  }

  private content(request: Request, node: ControlNode): Buffer | number {
    if (node === DIRECTORY) return -E.EISDIR;
    const render = this.context.contents[node.name as ControlFile];
    return this.snapshots.read(request.u64(In.READ.fh), request.u64(In.READ.offset), render);
  }

  private write(request: Request, body: ReplyBody, node: ControlNode): Outcome {
    if (node !== COMMANDS) return -E.EBADF;
    return this.channel.write(request.u64(In.WRITE.fh), this.context.payload(), request, body);
  }

  private release(request: Request): Outcome {
    const fh = request.u64(In.RELEASE.fh);
    this.snapshots.release(fh);
    this.channel.release(fh);
    return 0;
  }

  private list(request: Request, body: ReplyBody, node: ControlNode, plus: boolean): Outcome {
    if (node !== DIRECTORY) return -E.ENOTDIR;
    this.attributes.listing(body, request.u64(In.READ.offset), request.u32(In.READ.size), plus);
    return 0;
  }

  private mayCommand(request: Request): boolean {
    return request.uid === 0 || request.uid === this.context.uid;
  }
}

/** fuse_open_out. */
function opened(body: ReplyBody, fh: number, flags: number): Outcome {
  body.u64(fh);
  body.u32(flags);
  body.u32(0);
  return 0;
}

/** An empty list of extended attributes: fuse_getxattr_out when only its size is asked for, else nothing. */
function noNames(request: Request, body: ReplyBody): Outcome {
  if (request.u32(In.LISTXATTR.size) === 0) body.u64(0);
  return 0;
}
