import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, closeSync, openSync, rmSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import { ImageFlag } from "../../src/cache/image.ts";
import { Opcode, SetattrValid as Valid } from "../../src/fuse/constants.ts";
import * as libc from "../../src/sys/libc.ts";
import { setXattr } from "../../src/sys/xattr.ts";
import { need } from "../support/need.ts";
import { ordinaryUser } from "../support/ordinary-user.ts";
import { DIRTY_BLOCKS, fields, type Reply, Rig } from "./rig.ts";

let rig: Rig;
const at = (name: string): string => join(rig.backing, name);
beforeEach(() => {
  rig = new Rig();
});
afterEach(() => rig.close());

interface Change {
  size?: number;
  atime?: bigint;
  mtime?: bigint;
  mode?: number;
  uid?: number;
  gid?: number;
}

/** SETATTR with the fields of `change`; `more` are further FATTR_* bits. */
function setattr(node: bigint, valid: number, change: Change = {}): Reply {
  const { size = 0, atime = 0n, mtime = 0n, mode = 0, uid = 0, gid = 0 } = change;
  const body = fields(valid, 0, 0n, BigInt(size), 0n, atime, mtime, 0n, 0, 0, 0, mode, 0, uid, gid, 0);
  return rig.send(Opcode.SETATTR, body, { node });
}

describe("attributes", () => {
  it("are the backing file's while nothing is dirty", () => {
    writeFileSync(at("f"), Buffer.alloc(10000, 1));
    utimesSync(at("f"), 1000, 2000);
    const file = rig.lookup("f");
    const home = statSync(at("f"));
    expect(rig.getattr(file.node).attr(16)).toMatchObject({ size: 10000, mtime: 2000, blocks: home.blocks });
    expect(rig.getattr(file.node).body.length).toBe(104);
  });

  it("are the cache's where it is newer, with blocks for what is not home", () => {
    const file = rig.create("f");
    rig.dirty(file.slot, 1 << 20, 4_000_000_000);
    const attr = rig.getattr(file.node).attr(16);
    expect(attr).toMatchObject({ size: 1 << 20, mtime: 4_000_000_000, ctime: 4_000_000_000, blocks: 8 * DIRTY_BLOCKS });
    expect(rig.getattr(file.node).attr(16).blocks).toBe(statSync(at("f")).blocks + 8 * DIRTY_BLOCKS);
  });

  it("have the file's own time of change beside a time of modification that a user gave", () => {
    const file = rig.create("f");
    rig.dirty(file.slot, 10, 4_000_000_000);
    rig.images.setFlags(file.slot, rig.images.flags(file.slot) | ImageFlag.given);
    const changed = Math.floor(statSync(at("f")).ctimeMs / 1000);
    expect(rig.getattr(file.node).attr(16)).toMatchObject({ mtime: 4_000_000_000, ctime: changed });
  });

  it("claim no more blocks than the whole file has, and no fewer than home has", () => {
    writeFileSync(at("f"), Buffer.alloc(10000, 1));
    const file = rig.lookup("f");
    const home = statSync(at("f")).blocks;
    rig.dirty(file.slot, 10000, 5);
    expect(rig.getattr(file.node).attr(16).blocks).toBe(Math.max(home, 24));
    rig.dirty(file.slot, 100, 5);
    expect(rig.getattr(file.node).attr(16).blocks).toBe(home);
  });

  it("show a time before 1970 and one after 2106", () => {
    const file = rig.create("f");
    expect(setattr(file.node, Valid.ATIME | Valid.MTIME, { mtime: -5n }).attr(16).mtime).toBe(-5);
    expect(setattr(file.node, Valid.MTIME, { mtime: 5_000_000_000n }).attr(16).mtime).toBe(5_000_000_000);
    rig.dirty(file.slot, 0, -7);
    expect(rig.getattr(file.node).attr(16).mtime).toBe(-7);
  });

  it("keep the image's remembered mtime in step with what the user sets", () => {
    const file = rig.create("f");
    setattr(file.node, Valid.MTIME, { mtime: 1234n });
    expect(rig.data.mtimes.get(file.slot)).toBe(1234);
    expect(Math.floor(statSync(at("f")).mtimeMs)).toBe(1234_000);
  });

  it("come by STATX too, with the time of birth", () => {
    const file = rig.create("f");
    rig.dirty(file.slot, 8192, 4_000_000_000);
    const { body } = rig.send(Opcode.STATX, fields(0, 0, 0n, 0, 0xfff), { node: file.node });
    expect(body.length).toBe(288);
    expect(body.readBigUInt64LE(32 + 40)).toBe(8192n);
    expect(body.readBigInt64LE(32 + 112)).toBe(4_000_000_000n);
    expect(body.readUInt16LE(32 + 28)).toBe(0o100644);
    expect(Number(body.readBigInt64LE(32 + 80))).toBe(Math.floor(statSync(at("f")).birthtimeMs / 1000));
  });
});

describe("changing attributes", () => {
  it("sets mode and owner, and a new owner loses set-user-id", (context) => {
    need(context, "root");
    const file = rig.create("f");
    expect(setattr(file.node, Valid.MODE, { mode: 0o4755 }).attr(16).mode).toBe(0o104755);
    expect(setattr(file.node, Valid.UID | Valid.GID, { uid: 12, gid: 13 }).attr(16)).toMatchObject({
      uid: 12,
      gid: 13,
      mode: 0o100755,
    });
    expect(setattr(file.node, Valid.GID, { gid: 14 }).attr(16)).toMatchObject({ uid: 12, gid: 14 });
  });

  it("sets the size, and then the time that comes with it", () => {
    writeFileSync(at("f"), "content");
    utimesSync(at("f"), 1000, 2000);
    const file = rig.lookup("f");
    const same = setattr(file.node, Valid.SIZE, { size: 7 });
    expect(same.attr(16).size).toBe(7);
    expect(same.attr(16).mtime).toBeGreaterThan(2000);
    expect(setattr(file.node, Valid.SIZE | Valid.MTIME, { size: 3, mtime: 5n }).attr(16)).toMatchObject({
      size: 3,
      mtime: 5,
    });
    expect(statSync(at("f")).size).toBe(3);
  });

  it("takes set-user-id away when somebody else truncates", () => {
    writeFileSync(at("f"), "content");
    chmodSync(at("f"), 0o6755);
    const file = rig.lookup("f");
    expect(setattr(file.node, Valid.SIZE | Valid.KILL_SUIDGID, { size: 1 }).attr(16).mode).toBe(0o100755);
    chmodSync(at("f"), 0o2644);
    expect(setattr(file.node, Valid.SIZE | Valid.KILL_SUIDGID, { size: 2 }).attr(16).mode).toBe(0o102644);
  });

  it("refuses a size for a directory", () => {
    const dir = rig.mkdir("d");
    expect(setattr(dir.node, Valid.SIZE, { size: 1 }).error).toBe(-E.EISDIR);
  });

  it("changes a symlink itself, never what it points to", () => {
    writeFileSync(at("f"), "", { mode: 0o600 });
    const link = rig.send(Opcode.SYMLINK, fields("s", "f"));
    setattr(link.node, Valid.MODE, { mode: 0o777 });
    setattr(link.node, Valid.MTIME, { mtime: 99n });
    expect(statSync(at("f")).mode & 0o777).toBe(0o600);
    expect(statSync(at("f")).mtimeMs).toBeGreaterThan(99_000);
    expect(rig.getattr(link.node).attr(16).mtime).toBe(99);
  });

  it("reaches the root directory itself", () => {
    expect(setattr(1n, Valid.MODE | Valid.MTIME, { mode: 0o711, mtime: 77n }).attr(16)).toMatchObject({
      mode: 0o040711,
      mtime: 77,
    });
  });
});

describe("opening", () => {
  it("answers with the session's flags and nothing that a restart would lose", () => {
    const file = rig.create("f");
    const { body } = rig.send(Opcode.OPEN, fields(2, 0), { node: file.node });
    expect([body.readBigUInt64LE(0), body.readUInt32LE(8), body.length]).toEqual([0n, 1, 16]);
    rig.restart();
    expect(rig.send(Opcode.RELEASE, fields(0n, 0, 0, 0n), { node: file.node }).error).toBe(0);
  });

  it("tells at once that a file cannot be written at home", (context) => {
    need(context, "root", "chattr");
    const file = rig.create("f");
    execFileSync("chattr", ["+i", at("f")]);
    try {
      expect(rig.send(Opcode.OPEN, fields(1, 0), { node: file.node }).error).toBe(-E.EPERM);
      expect(rig.send(Opcode.OPEN, fields(0, 0), { node: file.node }).error).toBe(0);
      expect(rig.inodes.openHome(file.slot, 0)).toBeGreaterThan(0);
    } finally {
      execFileSync("chattr", ["-i", at("f")]);
    }
  });

  it("tells at once that a file can only be appended to at home", (context) => {
    need(context, "root", "chattr");
    const file = rig.create("f");
    execFileSync("chattr", ["+a", at("f")]);
    try {
      expect(rig.send(Opcode.OPEN, fields(0o2001, 0), { node: file.node }).error).toBe(-E.EPERM);
      expect(rig.inodes.openHome(file.slot, 0)).toBeGreaterThan(0);
      expect(rig.inodes.openHome(file.slot, 0, true)).toBe(-E.EPERM);
    } finally {
      execFileSync("chattr", ["-a", at("f")]);
    }
  });

  it("reaches the file of an ordinary user whose own mode keeps the engine out, to read and to write", (context) => {
    need(context, "root");
    chmodSync(rig.backing, 0o755);
    const file = rig.create("f", {}, 0o302, 0);
    chownSync(at("f"), 1234, 1234);
    const open = (toWrite: boolean): number => ordinaryUser(1234, () => rig.inodes.openHome(file.slot, 0, toWrite));
    for (const mode of [0, 0o444]) {
      chmodSync(at("f"), mode);
      for (const toWrite of [false, true]) expect(open(toWrite)).toBeGreaterThan(0);
      expect(statSync(at("f")).mode & 0o7777).toBe(mode);
    }
    chownSync(at("f"), 0, 0);
    expect([open(false) > 0, open(true)]).toEqual([true, -E.EACCES]);
  });

  it("of a directory is told from that of a file, and a directory can be synced", () => {
    const file = rig.create("f");
    expect(rig.send(Opcode.OPENDIR, fields(0, 0), { node: file.node }).error).toBe(-E.ENOTDIR);
    expect(rig.send(Opcode.OPENDIR, fields(0, 0)).error).toBe(0);
    expect(rig.send(Opcode.FSYNCDIR, fields(0n, 0, 0)).error).toBe(0);
  });

  it("of a directory outlives its removal: it can still be synced, also by the next engine", () => {
    const dir = rig.mkdir("d");
    const beneath = rig.mkdir("beneath");
    const sync = (node: bigint): number => rig.send(Opcode.FSYNCDIR, fields(0n, 0, 0), { node }).error;
    expect(rig.send(Opcode.RMDIR, fields("d")).error).toBe(0);
    expect(sync(dir.node)).toBe(0);
    rmSync(at("beneath"), { recursive: true });
    rig.restart();
    expect([sync(dir.node), sync(beneath.node)]).toEqual([0, -E.ESTALE]);
  });

  it("tells the backing filesystem's space", () => {
    const { body } = rig.send(Opcode.STATFS, Buffer.alloc(0));
    expect(body.length).toBe(80);
    expect(body.readBigUInt64LE(0)).toBeGreaterThan(0n);
    expect(body.readUInt32LE(44)).toBe(255);
  });

  it("checks access by the mode bits when the kernel asks", () => {
    const file = rig.create("f", {}, 0o302, 0o640);
    const ask = (mask: number, uid: number, gid: number): number =>
      rig.send(Opcode.ACCESS, fields(mask, 0), { node: file.node, uid, gid }).error;
    expect(ask(6, 0, 0)).toBe(0);
    expect(ask(1, 0, 0)).toBe(-E.EACCES);
    expect(ask(4, 99, process.getegid!())).toBe(0);
    expect(ask(4, 99, 98)).toBe(-E.EACCES);
  });
});

describe("extended attributes", () => {
  const xattr = (opcode: number, body: Buffer, node: bigint): Reply => rig.send(opcode, body, { node });
  const set = (node: bigint, key: string, value: string): Reply =>
    xattr(Opcode.SETXATTR, Buffer.concat([fields(value.length, 0, key), Buffer.from(value)]), node);

  it("are kept, read, listed and removed, on files and on the root", () => {
    for (const node of [rig.create("f").node, rig.mkdir("d").node, 1n]) {
      expect(set(node, "user.test", "value").error).toBe(0);
      expect(xattr(Opcode.GETXATTR, fields(100, 0, "user.test"), node).body.toString()).toBe("value");
      expect(xattr(Opcode.GETXATTR, fields(0, 0, "user.test"), node).body.readUInt32LE(0)).toBe(5);
      expect(xattr(Opcode.GETXATTR, fields(2, 0, "user.test"), node).error).toBe(-E.ERANGE);
      expect(xattr(Opcode.LISTXATTR, fields(100, 0), node).body.toString()).toContain("user.test\0");
      expect(xattr(Opcode.REMOVEXATTR, fields("user.test"), node).error).toBe(0);
      expect(xattr(Opcode.GETXATTR, fields(100, 0, "user.test"), node).error).toBe(-E.ENODATA);
    }
  });

  it("follow a file that was unlinked while in use", () => {
    const file = rig.create("f");
    set(file.node, "user.test", "value");
    rig.unlink("f");
    expect(xattr(Opcode.GETXATTR, fields(100, 0, "user.test"), file.node).body.toString()).toBe("value");
  });

  it("follow what was unlinked in a filesystem mounted below, and so does that filesystem's space", (context) => {
    need(context, "root");
    rig.mkdir("mounted");
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1M", "none", at("mounted")]);
    try {
      const { node } = rig.lookup("mounted");
      const file = rig.create("f", { node });
      const link = rig.send(Opcode.SYMLINK, fields("link", "nowhere"), { node });
      for (const unlinked of [file, link]) expect(set(unlinked.node, "trusted.before", "value").error).toBe(0);
      for (const name of ["f", "link"]) expect(rig.unlink(name, { node }).error).toBe(0);
      for (const unlinked of [file, link]) {
        const get = (key: string): Reply => xattr(Opcode.GETXATTR, fields(100, 0, key), unlinked.node);
        expect(get("trusted.before").body.toString()).toBe("value");
        expect(set(unlinked.node, "trusted.after", "other").error).toBe(0);
        expect(get("trusted.after").body.toString()).toBe("other");
        expect(xattr(Opcode.REMOVEXATTR, fields("trusted.before"), unlinked.node).error).toBe(0);
        expect(xattr(Opcode.LISTXATTR, fields(100, 0), unlinked.node).body.toString()).toBe("trusted.after\0");
        const space = rig.send(Opcode.STATFS, Buffer.alloc(0), { node: unlinked.node }).body;
        expect(space.readBigUInt64LE(0) * BigInt(space.readUInt32LE(40))).toBe(1n << 20n);
      }
    } finally {
      rig.inodes.directories.close();
      execFileSync("umount", ["-l", at("mounted")]);
    }
  });

  it("say that access lists are not supported while the kernel does not check them", () => {
    const file = rig.create("f");
    expect(xattr(Opcode.GETXATTR, fields(0, 0, "system.posix_acl_access"), file.node).error).toBe(-E.EOPNOTSUPP);
    rig.close();
    rig = new Rig({ accessLists: true });
    const other = rig.create("f");
    expect(xattr(Opcode.GETXATTR, fields(0, 0, "system.posix_acl_access"), other.node).error).toBe(-E.ENODATA);
  });

  it("are listed as they can be read: no access lists, and trusted ones to root alone", (context) => {
    need(context, "root");
    const file = rig.create("f");
    const entry = (tag: number, access: number, id = 0xffffffff): Buffer => fields(tag | (access << 16), id);
    const list = Buffer.concat([fields(2), entry(1, 6), entry(2, 4, 12), entry(4, 4), entry(0x10, 4), entry(0x20, 4)]);
    const directory = openSync(rig.backing, "r");
    const put = (key: string, value: Buffer): number =>
      setXattr(directory, libc.cstring("f"), libc.cstring(key), value, 0);
    expect([put("system.posix_acl_access", list), put("trusted.t", list), put("user.u", list)]).toEqual([0, 0, 0]);
    closeSync(directory);
    const listed = (size: number, uid: number): Reply =>
      rig.send(Opcode.LISTXATTR, fields(size, 0), { node: file.node, uid });
    const names = ["trusted.t", "user.u"];
    expect(listed(200, 0).body.toString().split("\0").toSorted()).toEqual(["", ...names]);
    expect(listed(200, 12).body.toString()).toBe("user.u\0");
    expect(listed(0, 0).body.readUInt32LE(0)).toBe(17);
    expect(listed(17, 0).error).toBe(0);
    expect(listed(16, 0).error).toBe(-E.ERANGE);
    expect(listed(0, 12).body.readUInt32LE(0)).toBe(7);
    expect(listed(7, 12).body.toString()).toBe("user.u\0");
    expect(listed(6, 12).error).toBe(-E.ERANGE);
  });

  it("of a size that the request does not hold are refused", () => {
    const file = rig.create("f");
    expect(xattr(Opcode.SETXATTR, fields(5000, 0, "user.test"), file.node).error).toBe(-E.EINVAL);
  });
});

describe("what changes beside an image's data", () => {
  const CHANGES: Record<string, (node: bigint) => Reply> = {
    mode: (node) => setattr(node, Valid.MODE, { mode: 0o640 }),
    owner: (node) => setattr(node, Valid.UID, { uid: 1000 }),
    times: (node) => setattr(node, Valid.MTIME, { mtime: 5n }),
    "its name": () => rig.rename("f", "g"),
    "another name": (node) => rig.link(node, "g"),
  };

  it.for(Object.keys(CHANGES))("is told to the data side, which flushes it with the data: %s", (what, context) => {
    need(context, "root");
    const file = rig.create("f");
    expect(rig.data.changed.size).toBe(0);
    expect(CHANGES[what]!(file.node).error).toBe(0);
    expect([...rig.data.changed]).toEqual([file.slot]);
  });

  it.for(["f", "g"])("is told when one of two names, %s, is removed, moved, replaced or exchanged", (name) => {
    const file = rig.create("f");
    const tells = (act: () => Reply, ...others: Reply[]): void => {
      rig.link(file.node, "g");
      rig.data.changed.clear();
      expect(act().error).toBe(0);
      expect(rig.data.changed).toEqual(new Set([file, ...others].map(({ slot }) => slot)));
    };
    tells(() => rig.rename(name, "h"));
    rig.rename("h", name);
    const other = rig.create("other");
    tells(() => rig.rename(name, "other", 2), other);
    rig.rename(name, "other", 2);
    tells(() => rig.rename("other", name), other);
    tells(() => rig.unlink(name === "f" ? "g" : "f"));
  });

  it("is not told when it did not come about", () => {
    const file = rig.create("f");
    rig.create("g");
    expect(rig.link(file.node, "g").error).toBe(-E.EEXIST);
    expect(rig.rename("f", "none/g").error).toBeLessThan(0);
    expect(rig.rename("f", "g", 1).error).toBe(-E.EEXIST);
    expect(rig.send(Opcode.RMDIR, fields("f")).error).toBe(-E.ENOTDIR);
    expect(rig.data.changed.size).toBe(0);
  });
});
