/**
 * Acts on the backing filesystem as another user: setfsuid(2) and setfsgid(2), which concern this thread's file access only.
 *
 * The kernel has checked the caller's permissions on the mount already (`default_permissions`), with supplementary groups
 * that are not visible here; so the capabilities that override permissions stay effective, or their members would get a
 * false EACCES. CAP_FSETID does not stay: a set-group-id bit is only for members.
 */
import koffi from "koffi";
import * as libc from "./libc.ts";

const library = koffi.load("libc.so.6");
const setfsuid = library.func("int setfsuid(uint32_t uid)") as (uid: number) => number;
const setfsgid = library.func("int setfsgid(uint32_t gid)") as (gid: number) => number;
const capget = library.func("int capget(void *header, void *data)") as (header: Buffer, data: Buffer) => number;
const capset = library.func("int capset(void *header, void *data)") as (header: Buffer, data: Buffer) => number;

const CAP_VERSION_3 = 0x20080522;
const CAP_FSETID = 4;

export class Identity {
  /** True if this process may take other identities: it is root. */
  readonly switches = process.geteuid?.() === 0;
  private readonly header = Buffer.alloc(8);
  private readonly overriding = Buffer.alloc(24);
  private mask = -1;

  constructor() {
    this.header.writeUInt32LE(CAP_VERSION_3, 0);
    capget(this.header, this.overriding);
    for (const half of [0, 12]) this.overriding.copyWithin(half, half + 4, half + 8); // effective := permitted
    this.overriding.writeUInt32LE((this.overriding.readUInt32LE(0) & ~(1 << CAP_FSETID)) >>> 0, 0);
  }

  /** Runs `act` (one system call that makes something) as `uid` and `gid`, under `umask`; its result. */
  as(uid: number, gid: number, umask: number, act: () => number): number {
    if (umask !== this.mask) libc.umask(umask);
    this.mask = umask;
    if (!this.switches || (uid === 0 && gid === 0)) return act();
    setfsgid(gid);
    setfsuid(uid);
    if (uid !== 0) capset(this.header, this.overriding);
    try {
      return act();
    } finally {
      setfsuid(0); // gives the file capabilities back as well
      setfsgid(0);
    }
  }
}
