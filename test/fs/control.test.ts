import { describe, expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import { INODES_MAX } from "../../src/base/limits.ts";
import { asSlot } from "../../src/base/units.ts";
import { isControlSlot } from "../../src/fs/control.ts";
import type { ControlCommands } from "../../src/fs/control-commands.ts";
import { CONTROL_DIRENT } from "../../src/fs/control-nodes.ts";
import { SNAPSHOTS_MAX } from "../../src/fs/control-snapshots.ts";
import { In, Opcode, OpenReply } from "../../src/fuse/constants.ts";
import { NO_REPLY, Request } from "../../src/fuse/request.ts";
import { O } from "../../src/sys/constants.ts";
import { ControlRig, OWNER } from "./control-rig.ts";

const silent: ControlCommands = { run: (_, done) => done("ok") };
const FILES = ["stats", "stats.json", "metrics", "images.json", "control"];
const COMMANDS = 5;

/** The entry that starts at `at`: fuse_entry_out. */
const entryAt = (bytes: Buffer, at = 0): { nodeid: number; mode: number; size: number; uid: number; gid: number } => ({
  nodeid: Number(bytes.readBigUInt64LE(at)),
  size: Number(bytes.readBigUInt64LE(at + 48)),
  mode: bytes.readUInt32LE(at + 100),
  uid: bytes.readUInt32LE(at + 108),
  gid: bytes.readUInt32LE(at + 112),
});

interface Listed {
  name: string;
  next: number;
  type: number;
  inode: number;
  nodeid: number;
}

/** The entries of a reply to READDIR or READDIRPLUS. */
function listed(bytes: Buffer, plus: boolean): Listed[] {
  const entries: Listed[] = [];
  for (let at = 0; at < bytes.length; ) {
    const nodeid = plus ? Number(bytes.readBigUInt64LE(at)) : 0;
    if (plus) at += 128;
    const length = bytes.readUInt32LE(at + 16);
    entries.push({
      name: bytes.toString("latin1", at + 24, at + 24 + length),
      inode: Number(bytes.readBigUInt64LE(at)),
      next: Number(bytes.readBigUInt64LE(at + 8)),
      type: bytes.readUInt32LE(at + 20),
      nodeid,
    });
    at += 24 + ((length + 7) & ~7);
  }
  return entries;
}

describe("names", () => {
  test("the directory is found in the root, owned by the mounting user and writable by nobody", () => {
    const rig = new ControlRig(silent);
    const request = new Request(new ArrayBuffer(64), () => expect.unreachable());
    const { outcome, bytes } = rig.run((body) => rig.directory.lookupRoot(request, body));
    expect([outcome, bytes.length]).toEqual([0, 128]);
    expect(rig.send({ opcode: Opcode.LOOKUP, node: -INODES_MAX, name: ".hypegear" })).toEqual({ outcome, bytes });
    expect(entryAt(bytes)).toEqual({ nodeid: INODES_MAX + 1, mode: 0o040555, size: 0, ...OWNER });
  });

  test.each(FILES.map((name, k) => [name, k + 1] as const))("%s is node %d of it", (name, index) => {
    const { outcome, bytes } = new ControlRig(silent).send({ opcode: Opcode.LOOKUP, node: 0, name });
    expect(outcome).toBe(0);
    const modes: Record<string, number> = { control: 0o100600, "images.json": 0o100400 };
    const mode = modes[name] ?? 0o100444;
    expect(entryAt(bytes)).toEqual({ nodeid: INODES_MAX + index + 1, mode, size: 0, ...OWNER });
  });

  test("other names, and names in files, are not there", () => {
    const rig = new ControlRig(silent);
    const look = (node: number, name: string): number => rig.send({ opcode: Opcode.LOOKUP, node, name }).outcome;
    expect([look(0, "lock"), look(0, ".hypegear"), look(1, "stats")]).toEqual([-E.ENOENT, -E.ENOENT, -E.ENOTDIR]);
  });

  test("slots of the slab are not this directory's", () => {
    expect([0, INODES_MAX - 1, INODES_MAX, INODES_MAX + 5].map((n) => isControlSlot(asSlot(n)))).toEqual([
      false,
      false,
      true,
      true,
    ]);
  });

  test("nodes beyond the last, and of the slab, are stale", () => {
    const stat = (node: number): number => new ControlRig(silent).send({ opcode: Opcode.GETATTR, node }).outcome;
    expect([stat(6), stat(-1), stat(-INODES_MAX)]).toEqual([-E.ESTALE, -E.ESTALE, -E.ESTALE]);
  });

  test("forgetting a node has no reply", () => {
    expect(new ControlRig(silent).send({ opcode: Opcode.FORGET, node: 3 }).outcome).toBe(NO_REPLY);
  });
});

describe("attributes", () => {
  test("GETATTR gives mode, links, owner and the time, and is never cached", () => {
    const { bytes } = new ControlRig(silent).send({ opcode: Opcode.GETATTR, node: 0 });
    expect(bytes.length).toBe(104);
    expect(bytes.subarray(0, 16)).toEqual(Buffer.alloc(16));
    expect(Number(bytes.readBigUInt64LE(16 + 32))).toBe(1_700_000_000);
    expect(bytes.readUInt32LE(16 + 52)).toBe(250);
    expect([bytes.readUInt32LE(16 + 60), bytes.readUInt32LE(16 + 64)]).toEqual([0o040555, 2]);
  });

  test("STATX agrees with GETATTR", () => {
    const rig = new ControlRig(silent);
    const attr = rig.send({ opcode: Opcode.GETATTR, node: 2 }).bytes.subarray(16);
    const statx = rig.send({ opcode: Opcode.STATX, node: 2 }).bytes;
    expect(statx.length).toBe(288);
    const x = statx.subarray(32);
    expect(x.readUInt32LE(0)).toBe(0x7ff);
    expect([x.readBigUInt64LE(32), x.readBigUInt64LE(40)]).toEqual([attr.readBigUInt64LE(0), attr.readBigUInt64LE(8)]);
    expect([x.readUInt32LE(16), x.readUInt32LE(20), x.readUInt32LE(24), x.readUInt16LE(28)]).toEqual([
      1,
      OWNER.uid,
      OWNER.gid,
      attr.readUInt32LE(60),
    ]);
    for (const time of [64, 96, 112]) {
      expect([x.readBigUInt64LE(time), x.readUInt32LE(time + 8)]).toEqual([1_700_000_000n, 250]);
    }
  });

  test("only a truncation of control to 0 is accepted, and only from those who may command", () => {
    const set = (node: number, valid: number, size: number, uid?: number): number =>
      new ControlRig(silent).send({
        opcode: Opcode.SETATTR,
        node,
        ...(uid === undefined ? {} : { uid }),
        fields: [
          [In.SETATTR.valid, valid],
          [In.SETATTR.size, size, 8],
        ],
      }).outcome;
    expect([set(COMMANDS, 8, 0), set(COMMANDS, 8 | 64 | 32, 0), set(COMMANDS, 8, 0, 0)]).toEqual([0, 0, 0]);
    expect([set(COMMANDS, 8, 1), set(COMMANDS, 1, 0), set(COMMANDS, 8 | 2, 0), set(1, 8, 0)]).toEqual([
      -E.EPERM,
      -E.EPERM,
      -E.EPERM,
      -E.EPERM,
    ]);
    expect(set(COMMANDS, 8, 0, 1001)).toBe(-E.EACCES);
  });

  test("ACCESS agrees with the modes", () => {
    const rig = new ControlRig(silent);
    const may = (node: number, mask: number, uid: number): boolean =>
      rig.send({ opcode: Opcode.ACCESS, node, uid, fields: [[0, mask]] }).outcome === 0;
    expect([may(0, 5, 7), may(0, 2, 0), may(1, 4, 7), may(1, 2, 0), may(1, 1, 0)]).toEqual([
      true,
      false,
      true,
      false,
      false,
    ]);
    expect([may(COMMANDS, 6, OWNER.uid), may(COMMANDS, 6, 0), may(COMMANDS, 4, 7), may(COMMANDS, 1, 0)]).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  test("there are no extended attributes", () => {
    const rig = new ControlRig(silent);
    expect(rig.send({ opcode: Opcode.GETXATTR, node: 1, name: "x".repeat(8) }).outcome).toBe(-E.ENODATA);
    const list = (size: number) => rig.send({ opcode: Opcode.LISTXATTR, node: 1, fields: [[0, size]] });
    expect(list(0)).toEqual({ outcome: 0, bytes: Buffer.alloc(8) });
    expect(list(64)).toEqual({ outcome: 0, bytes: Buffer.alloc(0) });
  });
});

describe("listing", () => {
  const list = (rig: ControlRig, plus: boolean, cookie: number, size: number): Listed[] => {
    const opcode = plus ? Opcode.READDIRPLUS : Opcode.READDIR;
    const { outcome, bytes } = rig.send({
      opcode,
      node: 0,
      fields: [
        [8, cookie, 8],
        [16, size],
      ],
    });
    expect(outcome).toBe(0);
    expect(bytes.length).toBeLessThanOrEqual(size);
    return listed(bytes, plus);
  };

  test.each([false, true])("gives all names once, at any buffer size (plus: %s)", (plus) => {
    const rig = new ControlRig(silent);
    for (const size of [170, 200, 333, 4096]) {
      const found: Listed[] = [];
      for (let part = list(rig, plus, 0, size); part.length > 0; part = list(rig, plus, part.at(-1)!.next, size)) {
        found.push(...part);
      }
      expect(found.map(({ name }) => name)).toEqual([".", "..", ...FILES]);
      expect(found.map(({ type }) => type)).toEqual([4, 4, 8, 8, 8, 8, 8]);
      expect(new Set(found.map(({ inode }) => inode)).size).toBe(7);
    }
  });

  test("with attributes counts a look-up for the files, not for the dots", () => {
    const nodes = list(new ControlRig(silent), true, 0, 4096).map(({ nodeid }) => nodeid);
    expect(nodes).toEqual([0, 0, 2, 3, 4, 5, 6].map((n) => (n === 0 ? 0 : INODES_MAX + n)));
  });

  test("shows the inode number that the root's listing shows for the directory", () => {
    expect(list(new ControlRig(silent), false, 0, 4096)[0]!.inode).toBe(CONTROL_DIRENT.inode);
  });
});

describe("reading a file", () => {
  test("gives one snapshot, in pieces, to its end", () => {
    const rig = new ControlRig(silent, (name, times) => `${name} ${"x".repeat(5000)} ${times}`);
    const { fh, flags } = rig.open(2);
    expect(flags).toBe(OpenReply.DIRECT_IO);
    let text = "";
    for (let part = rig.text(2, fh, 0, 1000); part !== ""; part = rig.text(2, fh, text.length, 1000)) text += part;
    expect(text).toBe(`stats.json ${"x".repeat(5000)} 1`);
    expect(rig.renderings).toBe(1);
  });

  test("serves each file its own content", () => {
    const rig = new ControlRig(silent);
    const read = [1, 2, 3, 4].map((node) => rig.text(node, rig.open(node).fh, 0));
    expect(read).toEqual(["stats 1\n", "stats.json 2\n", "metrics 3\n", "images.json 4\n"]);
  });

  test("two readers do not disturb each other", () => {
    const rig = new ControlRig(silent);
    const one = rig.open(1).fh;
    const two = rig.open(1).fh;
    expect([rig.text(1, one, 0, 3), rig.text(1, two, 0, 3)]).toEqual(["sta", "sta"]);
    expect([rig.text(1, one, 3), rig.text(1, two, 3)]).toEqual(["ts 1\n", "ts 2\n"]);
  });

  test("from the start again shows news", () => {
    const rig = new ControlRig(silent);
    const { fh } = rig.open(1);
    expect([rig.text(1, fh, 0), rig.text(1, fh, 0)]).toEqual(["stats 1\n", "stats 2\n"]);
  });

  test("a handle of an engine that died starts anew, and does not go on in another snapshot", () => {
    const before = new ControlRig(silent).open(1).fh;
    const rig = new ControlRig(silent);
    expect(rig.text(1, before, 4)).toBe(-E.ESTALE);
    expect(rig.text(1, before, 0)).toBe("stats 1\n");
    expect(rig.text(1, before, 6)).toBe("1\n");
  });

  test("snapshots are bounded, and a released one is gone", () => {
    const rig = new ControlRig(silent);
    const handles = Array.from({ length: SNAPSHOTS_MAX + 1 }, () => rig.open(1).fh);
    for (const fh of handles) rig.text(1, fh, 0);
    expect([rig.text(1, handles[0]!, 2), rig.text(1, handles[1]!, 2)]).toEqual([-E.ESTALE, "ats 2\n"]);
    expect(rig.send({ opcode: Opcode.RELEASE, node: 1, fields: [[0, handles[1]!, 8]] }).outcome).toBe(0);
    expect(rig.text(1, handles[1]!, 2)).toBe(-E.ESTALE);
  });

  test("the handle is the open's own number, so a later engine gives no other the same", () => {
    const rig = new ControlRig(silent);
    const { bytes } = rig.send({ opcode: Opcode.OPEN, node: 1, unique: 2 ** 40 + 6 });
    expect(Number(bytes.readBigUInt64LE(0))).toBe(2 ** 40 + 6);
  });

  test("is all that can be done with it", () => {
    const rig = new ControlRig(silent);
    const flags = [O.WRONLY, O.RDWR, O.RDONLY | O.TRUNC];
    expect(flags.map((flag) => rig.open(1, flag, 0).outcome)).toEqual([-E.EACCES, -E.EACCES, -E.EACCES]);
    expect(rig.write(1, "x", 1).outcome).toBe(-E.EBADF);
  });
});

describe("everything else", () => {
  test("is forbidden in and on the directory", () => {
    const rig = new ControlRig(silent);
    const { CREATE, MKDIR, MKNOD, UNLINK, RMDIR, RENAME2, LINK, SYMLINK, SETXATTR, TMPFILE } = Opcode;
    for (const opcode of [CREATE, MKDIR, MKNOD, UNLINK, RMDIR, RENAME2, LINK, SYMLINK, SETXATTR, TMPFILE]) {
      expect([opcode, rig.send({ opcode, node: 0, uid: 0 }).outcome]).toEqual([opcode, -E.EPERM]);
    }
  });

  test("never says ENOSYS for an operation that other files of the mount have", () => {
    const rig = new ControlRig(silent);
    const absent: number[] = [Opcode.POLL, Opcode.BMAP];
    for (const opcode of Object.values(Opcode).filter((code) => !absent.includes(code))) {
      expect([opcode, rig.send({ opcode, node: 1 }).outcome]).not.toEqual([opcode, -E.ENOSYS]);
    }
  });

  test("flushing, syncing and opening as a directory succeed", () => {
    const rig = new ControlRig(silent);
    const { FLUSH, FSYNC, OPENDIR, RELEASEDIR, FSYNCDIR } = Opcode;
    expect([FLUSH, FSYNC].map((opcode) => rig.send({ opcode, node: COMMANDS }).outcome)).toEqual([0, 0]);
    expect([OPENDIR, RELEASEDIR, FSYNCDIR].map((opcode) => rig.send({ opcode, node: 0 }).outcome)).toEqual([0, 0, 0]);
  });
});
