/** What the handlers of namespace operations share. */
import { assert } from "../base/assert.ts";
import type { Clock } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { INODES_MAX, NAME_BYTES_MAX } from "../base/limits.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import { Opcode } from "../fuse/constants.ts";
import type { Handler, ReplyBody, Request } from "../fuse/request.ts";
import { S } from "../sys/constants.ts";
import { Identity } from "../sys/identity.ts";
import type { Io } from "../sys/io.ts";
import * as libc from "../sys/libc.ts";
import { Stat } from "../sys/stat.ts";
import type { ImageData } from "../volume/contract.ts";
import { Attributes } from "./attributes.ts";
import { Capabilities } from "./capabilities.ts";
import { OWN_NAME } from "./held.ts";
import type { Inodes } from "./inodes.ts";
import type { Memory } from "./memory.ts";
import { ROOT } from "./records.ts";

export interface NamespaceOptions {
  inodes: Inodes;
  data: ImageData;
  memory: Memory;
  clock: Clock;
  io: Io;
  /** FOPEN_* bits of a reply to OPEN and CREATE of a regular file. */
  openFlags: () => number;
  /** Serves requests for slots from INODES_MAX on, and LOOKUP of `.hypegear` in the root. */
  control?: Handler;
  /** List `.hypegear` in the root. */
  showControl: boolean;
  /** True once FUSE_POSIX_ACL was negotiated: the kernel then checks access lists itself. */
  accessLists: () => boolean;
  /** What goes home leaves set-user-id and set-group-id alone: the engine is root's. */
  keepsSetId: boolean;
}

export class Namespace {
  readonly options: NamespaceOptions;
  readonly inodes: Inodes;
  readonly memory: Memory;
  readonly attributes: Attributes;
  readonly capabilities: Capabilities;
  readonly identity = new Identity();
  /** What the last system call found: of the subject, and of a second file. */
  readonly stat = new Stat();
  readonly other = new Stat();

  constructor(options: NamespaceOptions) {
    this.options = options;
    this.inodes = options.inodes;
    this.memory = options.memory;
    this.capabilities = new Capabilities(options.inodes);
    const root = new Stat();
    assert(root.read(options.inodes.directories.rootFd, libc.cstring(".")) === 0, "the backing directory is open");
    this.attributes = new Attributes(options.inodes, root);
  }

  /** The descriptor of the directory that `request` names, or a negated error number. */
  directory(slot: InodeSlot): number {
    return this.inodes.directories.descriptor(slot);
  }

  /** Fills `stat` with the file of `slot`. */
  read(slot: InodeSlot): number {
    return this.inodes.directories.read(slot, this.stat);
  }

  /** 0 if `name` may be made, removed or replaced in `parent`. */
  checkName(parent: InodeSlot, name: string): number {
    if (name.length > NAME_BYTES_MAX) return -E.ENAMETOOLONG;
    if (name === "" || name === "." || name === ".." || name.includes("/")) return -E.EINVAL;
    return parent === ROOT && name === OWN_NAME ? -E.EPERM : 0;
  }

  /** Answers with the entry `name` of `parent` that has just come to be, counting a look-up; `isMade`: its file, too. */
  enter(parent: InodeSlot, name: string, body: ReplyBody, isMade = false): number {
    const fd = this.directory(parent);
    if (fd < 0) return fd;
    const result = this.stat.read(fd, libc.cstring(name));
    const entered = result < 0 ? result : this.enterStat(parent, name, body);
    if (entered === 0 && isMade && this.stat.type === S.IFREG) this.inodes.made(asSlot(this.inodes.find(this.stat)!));
    return entered;
  }

  /** The same when `stat` is filled already. */
  enterStat(parent: InodeSlot, name: string, body: ReplyBody): number {
    const found = this.inodes.intern(parent, name, this.stat);
    if (found < 0) return found;
    const slot = asSlot(found);
    this.inodes.retain(slot);
    if (!this.inodes.bears(slot, parent, name)) this.reconsiderName(slot, parent, name);
    this.attributes.entry(body, slot, this.stat);
    return 0;
  }

  /** `slot` was seen under a name that its record does not bear; if the record's own is no longer good, it takes this one. */
  private reconsiderName(slot: InodeSlot, parent: InodeSlot, name: string): void {
    const { inodes, memory } = this;
    const held = inodes.isHeld(slot);
    if (!held && inodes.directories.read(slot, this.other) === 0) return;
    const intent = { subject: slot, key: inodes.records.key(slot), newParent: parent, newName: name };
    const at = memory.begin(Opcode.LOOKUP, 0, 0, intent);
    inodes.rename(slot, parent, name);
    memory.end(at, 0);
    if (!held) return;
    inodes.held.remove(inodes.held.nameOf(slot));
    inodes.directories.read(slot, this.stat); // it has one link less now
  }
}

/**
 * A node that a request's body names, `offset` bytes from the body's start: its slot, ESTALE, or EXDEV for the control
 * directory's (so that `mv` copies).
 */
export function bodySlot(inodes: Inodes, request: Request, offset: number): number {
  const slot = asSlot(request.u32(offset) - 1);
  if (slot >= INODES_MAX) return -E.EXDEV;
  return inodes.known(slot, request.u32(offset + 4)) ? slot : -E.ESTALE;
}
