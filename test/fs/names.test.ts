import { execFileSync } from "node:child_process";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import { Opcode } from "../../src/fuse/constants.ts";
import { need } from "../support/need.ts";
import { fields, NO_REPLY, Rig } from "./rig.ts";

let rig: Rig;
const at = (name: string): string => join(rig.backing, name);
beforeEach(() => {
  rig = new Rig();
});
afterEach(() => rig.close());

describe("looking up", () => {
  it("answers with the backing file's attributes and counts the look-up", () => {
    writeFileSync(at("disk.img"), "12345", { mode: 0o640 });
    const reply = rig.lookup("disk.img");
    expect(reply.error).toBe(0);
    expect(reply.entry).toMatchObject({ ino: statSync(at("disk.img")).ino, size: 5, mode: 0o100640, nlink: 1 });
    expect(rig.inodes.records.lookups(reply.slot)).toBe(1);
  });

  it("finds nothing where nothing is, and keeps no record of it", () => {
    expect(rig.lookup("absent").error).toBe(-E.ENOENT);
    expect(rig.inodes.count).toBe(1);
  });

  it("takes any bytes but slash and NUL for a name, 255 of them", () => {
    const names = ["\xff\xfe\x80", "x".repeat(255), "new\nline", "\xc3"];
    for (const name of names) {
      expect(rig.create(name).error).toBe(0);
      expect(rig.lookup(name).error).toBe(0);
    }
    const beneath = readdirSync(rig.backing, { encoding: "latin1" });
    for (const name of names) expect(beneath).toContain(name);
    expect(rig.lookup("x".repeat(256)).error).toBe(-E.ENAMETOOLONG);
    expect(rig.lookup("..").error).toBe(-E.EINVAL);
    expect(rig.lookup("a/b").error).toBe(-E.EINVAL);
  });

  it("makes hard links one inode", () => {
    const first = rig.create("a");
    expect(rig.link(first.node, "b").node).toBe(first.node);
    expect(rig.lookup("b").node).toBe(first.node);
    expect(rig.getattr(first.node).attr(16).nlink).toBe(2);
  });

  it("keeps a hard link's inode reachable when the name that it was known by goes", () => {
    const first = rig.create("a");
    rig.link(first.node, "b");
    expect(rig.unlink("a").error).toBe(0);
    expect(rig.getattr(first.node).attr(16).nlink).toBe(1);
    expect(rig.lookup("b").node).toBe(first.node);
    expect(rig.inodes.isHeld(first.slot)).toBe(false);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
    expect(statSync(at("b")).nlink).toBe(1);
  });

  it("makes the last forgotten record's node id stale, also when its slot serves another file", () => {
    const old = rig.create("a");
    expect(rig.forget(old.node).error).toBe(NO_REPLY);
    expect(rig.getattr(old.node).error).toBe(-E.ESTALE);
    const next = rig.create("b");
    expect(next.slot).toBe(old.slot);
    expect(rig.getattr(old.node).error).toBe(-E.ESTALE);
    expect(rig.getattr(next.node).error).toBe(0);
  });

  it("keeps directories while children are known", () => {
    const parent = rig.mkdir("d");
    const child = rig.create("c", { node: parent.node });
    rig.forget(parent.node);
    expect(rig.getattr(child.node).error).toBe(0);
    rig.forgetMany([child.node]);
    expect(rig.inodes.reviewForgotten()).toBe(false);
    expect(rig.inodes.count).toBe(1);
  });

  it("never follows a symlink that was swapped in for a directory", () => {
    const inside = rig.mkdir("d");
    const file = rig.create("f", { node: inside.node });
    rig.inodes.directories.drop(inside.slot);
    renameSync(at("d"), at("moved"));
    symlinkSync("/etc", at("d"));
    expect(rig.lookup("passwd", inside.node).error).toBe(-E.ESTALE);
    expect(rig.getattr(file.node).error).toBe(-E.ESTALE);
    expect(rig.inodes.openHome(file.slot, 0)).toBe(-E.ESTALE);
    expect(rig.create("made", { node: inside.node }).error).toBe(-E.ESTALE);
    expect(existsSync("/etc/made")).toBe(false);
  });

  it("refuses a file that was replaced beneath the mount", () => {
    const file = rig.create("disk.img");
    writeFileSync(at("other"), "other");
    renameSync(at("other"), at("disk.img"));
    expect(rig.getattr(file.node).error).toBe(-E.ESTALE);
    expect(rig.inodes.openHome(file.slot, 0)).toBe(-E.ESTALE);
    const now = rig.lookup("disk.img");
    expect(now.error).toBe(0);
    expect(now.node).not.toBe(file.node);
  });

  it("reaches a directory a thousand levels down with few descriptors open", () => {
    let node = 1n;
    for (let i = 0; i < 1000; i++) node = rig.mkdir("d", 0o755, { node }).node;
    rig.restart();
    expect(rig.create("deep", { node }).error).toBe(0);
    execFileSync("find", [rig.backing, "-name", "deep", "-delete"]);
  });
});

describe("the program's own directory", () => {
  it("cannot be reached, made, removed or renamed through the mount", () => {
    rig.create("a");
    expect(rig.lookup(".hypegear").error).toBe(-E.ENOENT);
    expect(rig.mkdir(".hypegear").error).toBe(-E.EPERM);
    expect(rig.create(".hypegear").error).toBe(-E.EPERM);
    expect(rig.send(Opcode.RMDIR, fields(".hypegear")).error).toBe(-E.EPERM);
    expect(rig.rename(".hypegear", "x").error).toBe(-E.EPERM);
    expect(rig.rename("a", ".hypegear").error).toBe(-E.EPERM);
    expect(existsSync(at(".hypegear/held"))).toBe(true);
  });

  it("is an ordinary name further down", () => {
    const inside = rig.mkdir("d");
    expect(rig.mkdir(".hypegear", 0o700, { node: inside.node }).error).toBe(0);
  });
});

describe("creating", () => {
  it("gives files the caller's uid, gid and mode, less the umask", (context) => {
    need(context, "root");
    const file = rig.create("f", { uid: 1234, gid: 2345 }, 0o302, 0o666, 0o027);
    const dir = rig.mkdir("d", 0o750, { uid: 1234, gid: 2345 });
    expect(file.entry).toMatchObject({ uid: 1234, gid: 2345, mode: 0o100640 });
    expect(dir.entry).toMatchObject({ uid: 1234, gid: 2345, mode: 0o040750 });
  });

  it("lets a caller whom the kernel allowed make files in a directory that is closed to its uid and gid", (context) => {
    need(context, "root");
    mkdirSync(at("group"), { mode: 0o770 });
    const dir = rig.lookup("group");
    expect(rig.create("f", { node: dir.node, uid: 1234, gid: 2345 }).entry).toMatchObject({ uid: 1234 });
  });

  it("has files in a set-group-id directory inherit the group, and directories the bit", (context) => {
    need(context, "root");
    const dir = rig.mkdir("d");
    execFileSync("chown", ["0:777", at("d")]);
    execFileSync("chmod", ["2775", at("d")]);
    const call = { node: dir.node, uid: 1234, gid: 2345 };
    expect(rig.create("f", call).entry).toMatchObject({ uid: 1234, gid: 777 });
    expect(rig.mkdir("s", 0o755, call).entry).toMatchObject({ gid: 777, mode: 0o042755 });
  });

  it("makes symlinks, pipes and device nodes, and reads symlinks back", (context) => {
    need(context, "root");
    const link = rig.send(Opcode.SYMLINK, fields("s", "../target"));
    expect(rig.send(Opcode.READLINK, Buffer.alloc(0), { node: link.node }).body.toString()).toBe("../target");
    expect(rig.send(Opcode.MKNOD, fields(0o010644, 0, 0, 0, "p")).entry.mode).toBe(0o010644);
    const device = rig.send(Opcode.MKNOD, fields(0o020600, (1 << 8) | 3, 0, 0, "null"));
    expect(device.entry).toMatchObject({ mode: 0o020600, rdev: (1 << 8) | 3 });
    expect(lstatSync(at("null")).rdev).toBe((1 << 8) | 3);
  });

  it("refuses names that are taken, and opens the file instead when O_EXCL is absent", () => {
    const first = rig.create("a");
    expect(rig.create("a").error).toBe(-E.EEXIST);
    expect(rig.mkdir("a").error).toBe(-E.EEXIST);
    expect(rig.create("a", {}, 0o102).node).toBe(first.node);
  });

  it("truncates what CREATE with O_TRUNC finds", () => {
    writeFileSync(at("a"), "content");
    const reply = rig.create("a", {}, 0o1102);
    expect(reply.entry.size).toBe(0);
    expect(reply.body.length).toBe(144);
    expect(rig.inodes.records.lookups(reply.slot)).toBe(1);
  });

  it("gives a temporary file no name until it is linked", (context) => {
    need(context, "root");
    const reply = rig.send(Opcode.TMPFILE, fields(0o2, 0o600, 0, 0, ""), { uid: 1234, gid: 2345 });
    expect(reply.error).toBe(0);
    expect(reply.entry).toMatchObject({ nlink: 0, uid: 1234, mode: 0o100600 });
    expect(rig.link(reply.node, "named").entry.nlink).toBe(1);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
    expect(statSync(at("named")).nlink).toBe(1);
  });

  it("refuses a temporary file on a filesystem mounted further down as not supported", (context) => {
    need(context, "root");
    mkdirSync(at("mounted"));
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", at("mounted")]);
    try {
      const { node } = rig.lookup("mounted");
      const reply = rig.send(Opcode.TMPFILE, fields(0o2, 0o600, 0, 0, ""), { node });
      expect(reply.error).toBe(-E.EOPNOTSUPP);
      expect(readdirSync(at("mounted"))).toEqual([]);
      expect(readdirSync(at(".hypegear/held"))).toEqual([]);
    } finally {
      rig.inodes.directories.close();
      execFileSync("umount", ["-l", at("mounted")]);
    }
  });

  it("removes a temporary file that nobody linked at its last forget", () => {
    const reply = rig.send(Opcode.TMPFILE, fields(0o2, 0o600, 0, 0, ""));
    rig.forget(reply.node);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
    expect(rig.inodes.count).toBe(1);
  });
});

describe("removing", () => {
  it("keeps an unlinked file readable and writable until its last forget", () => {
    writeFileSync(at("a"), "content");
    const file = rig.lookup("a");
    expect(rig.unlink("a").error).toBe(0);
    expect(existsSync(at("a"))).toBe(false);
    expect(rig.getattr(file.node).attr(16)).toMatchObject({ nlink: 0, size: 7 });
    expect(rig.inodes.openHome(file.slot, 0)).toBeGreaterThan(0);
    rig.forget(file.node);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
    expect(rig.getattr(file.node).error).toBe(-E.ESTALE);
  });

  it("drops the dirty data of a file whose last name and last user are gone", () => {
    const file = rig.create("a");
    rig.dirty(file.slot, 4096, 1);
    rig.unlink("a");
    expect(rig.data.discarded).toEqual([]);
    rig.forget(file.node);
    expect(rig.data.discarded).toEqual([file.slot]);
    expect(rig.inodes.count).toBe(1);
  });

  it.for(["EIO", "EACCES"] as const)(
    "takes it home when it cannot tell, for %s, whether that was the last name",
    (error) => {
      const file = rig.create("a");
      rig.link(file.node, "b");
      rig.dirty(file.slot, 4096, 1);
      rig.unlink("a");
      const { directories } = rig.inodes;
      const read = directories.read.bind(directories);
      directories.read = (slot, stat) => (slot === file.slot ? -E[error] : read(slot, stat));
      rig.forget(file.node, 2n);
      expect(rig.data.discarded).toEqual([]);
      rig.data.clean(file.slot);
      expect(rig.inodes.count).toBe(1);
    },
  );

  it("takes the dirty data home before it forgets a file that still has another name", () => {
    const file = rig.create("a");
    rig.link(file.node, "b");
    rig.dirty(file.slot, 4096, 1);
    rig.unlink("a");
    rig.forget(file.node, 2n);
    expect(rig.data.discarded).toEqual([]);
    expect(rig.inodes.count).toBe(2);
    rig.data.clean(file.slot);
    expect(rig.inodes.count).toBe(1);
    expect(statSync(at("b")).nlink).toBe(1);
  });

  it("keeps a record whose data is dirty although the kernel forgot it", () => {
    const file = rig.create("a");
    rig.dirty(file.slot, 4096, 1);
    rig.forget(file.node);
    expect(rig.lookup("a").node).toBe(file.node);
    rig.forget(file.node);
    rig.data.clean(file.slot);
    expect(rig.inodes.count).toBe(1);
  });

  it("removes directories only when they are empty, and lets their users see them gone", () => {
    const dir = rig.mkdir("d");
    rig.create("f", { node: dir.node });
    expect(rig.send(Opcode.RMDIR, fields("d")).error).toBe(-E.ENOTEMPTY);
    expect(rig.unlink("d").error).toBe(-E.EISDIR);
    expect(rig.send(Opcode.RMDIR, fields("f"), { node: dir.node }).error).toBe(-E.ENOTDIR);
    expect(rig.unlink("f", { node: dir.node }).error).toBe(0);
    expect(rig.send(Opcode.RMDIR, fields("d")).error).toBe(0);
    expect(rig.getattr(dir.node).attr(16).nlink).toBe(0);
    expect(rig.create("f", { node: dir.node }).error).toBe(-E.ENOENT);
  });

  it("holds a file of another filesystem below by a descriptor", (context) => {
    need(context, "root");
    mkdirSync(at("mounted"));
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", at("mounted")]);
    try {
      const dir = rig.lookup("mounted");
      const file = rig.create("f", { node: dir.node });
      expect(rig.unlink("f", { node: dir.node }).error).toBe(0);
      expect(rig.getattr(file.node).attr(16).nlink).toBe(0);
      const fd = rig.inodes.openHome(file.slot, 0);
      expect(fd).toBeGreaterThan(0);
      rig.data.truncate(file.slot, 10, () => undefined);
      expect(rig.getattr(file.node).attr(16).size).toBe(10);
      expect(file.entry.ino).not.toBe(statSync(at("mounted")).ino);
      rig.forget(file.node);
      expect(rig.getattr(file.node).error).toBe(-E.ESTALE);
    } finally {
      rig.inodes.directories.close();
      execFileSync("umount", ["-l", at("mounted")]);
    }
  });
});

describe("renaming", () => {
  it("moves a dirty file, whose data then goes to its new place", () => {
    const dir = rig.mkdir("d");
    const file = rig.create("a");
    rig.dirty(file.slot, 4096, 1);
    expect(rig.rename("a", "b", 0, dir.node).error).toBe(0);
    const fd = rig.inodes.openHome(file.slot, 0);
    expect(fd).toBeGreaterThan(0);
    expect(readFileSync(`/proc/self/fd/${fd}`).length).toBe(0);
    expect(rig.lookup("b", dir.node).node).toBe(file.node);
  });

  it("keeps a file that is replaced while in use", () => {
    writeFileSync(at("old"), "old");
    const old = rig.lookup("old");
    const next = rig.create("new");
    expect(rig.rename("new", "old").error).toBe(0);
    expect(rig.lookup("old").node).toBe(next.node);
    expect(rig.getattr(old.node).attr(16)).toMatchObject({ nlink: 0, size: 3 });
    rig.forget(old.node);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
  });

  it("obeys NOREPLACE and EXCHANGE and refuses the rest", () => {
    const a = rig.create("a");
    const b = rig.mkdir("b");
    const inside = rig.create("c", { node: b.node });
    expect(rig.rename("a", "b", 1).error).toBe(-E.EEXIST);
    expect(rig.rename("a", "b", 2).error).toBe(0);
    expect(rig.lookup("b").node).toBe(a.node);
    expect(rig.getattr(inside.node).error).toBe(0);
    expect(rig.rename("a", "x", 4).error).toBe(-E.EINVAL);
    expect(rig.rename("a", "absent", 2).error).toBe(-E.ENOENT);
  });

  it("leaves both names of one file alone", () => {
    const a = rig.create("a");
    rig.link(a.node, "b");
    expect(rig.rename("a", "b").error).toBe(0);
    expect(statSync(at("a")).nlink).toBe(2);
  });

  it("follows the children of a directory that moved", () => {
    const d = rig.mkdir("d");
    const f = rig.create("f", { node: d.node });
    rig.rename("d", "e");
    rig.inodes.directories.drop(d.slot);
    expect(rig.getattr(f.node).error).toBe(0);
    rmSync(at("e"), { recursive: true });
    expect(rig.getattr(f.node).error).toBe(-E.ESTALE);
  });
});
