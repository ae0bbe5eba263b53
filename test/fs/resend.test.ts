/**
 * The engine is killed in the middle of a namespace operation and the kernel sends the request again. Every operation, at
 * every point: before it began, with the intent recorded alone, executed with its inode records unchanged, executed with no
 * result recorded, and executed and recorded.
 */
import { existsSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import { asSlot, type InodeSlot } from "../../src/base/units.ts";
import { Opcode } from "../../src/fuse/constants.ts";
import { Stat, StatxAt } from "../../src/sys/stat.ts";
import { type Call, fields, Killed, type Reply, Rig } from "./rig.ts";

let rig: Rig;
const at = (name: string): string => join(rig.backing, name);
beforeEach(() => {
  rig = new Rig();
});
afterEach(() => rig.close());

const UNIQUE = 4242;

/** Points at which the engine dies: each makes one of its own functions throw. */
const points: Record<string, () => void> = {
  "before it began": () => {
    rig.memory.begin = () => {
      throw new Killed();
    };
  },
  "with the intent recorded": () => {
    const begin = rig.memory.begin.bind(rig.memory);
    rig.memory.begin = (...args) => {
      begin(...args);
      throw new Killed();
    };
  },
  "with the inode records unchanged": () => {
    const die = (): never => {
      throw new Killed();
    };
    rig.inodes.rename = die;
    rig.inodes.unname = die;
    rig.inodes.internHeld = die;
    rig.memory.end = die;
  },
  "with no result recorded": () => {
    rig.memory.end = () => {
      throw new Killed();
    };
  },
  "with the result recorded": () => undefined,
};

/** Sends, dies at `point`, starts again, and sends the same request again. */
function resent(point: string, send: (call: Call) => Reply): Reply {
  points[point]!();
  try {
    send({ unique: UNIQUE });
  } catch (error) {
    if (!(error instanceof Killed)) throw error;
  }
  rig.restart();
  return send({ unique: UNIQUE, resent: true });
}

describe.each(Object.keys(points))("killed %s, a resent", (point) => {
  it("MKDIR makes one directory and succeeds", () => {
    const reply = resent(point, (call) => rig.mkdir("d", 0o700, call));
    expect(reply.error).toBe(0);
    expect(reply.entry.mode).toBe(0o040700);
  });

  it("CREATE O_EXCL makes one file and succeeds", () => {
    const reply = resent(point, (call) => rig.create("f", { ...call, uid: 1234 }));
    expect(reply.error).toBe(0);
    expect(reply.entry.uid).toBe(process.geteuid!() === 0 ? 1234 : process.geteuid!());
    expect(rig.lookup("f").node).toBe(reply.node);
  });

  it("SYMLINK and MKNOD succeed", () => {
    expect(resent(point, (call) => rig.send(Opcode.SYMLINK, fields("s", "t"), call)).error).toBe(0);
    expect(resent(point, (call) => rig.send(Opcode.MKNOD, fields(0o010600, 0, 0, 0, "p"), call)).error).toBe(0);
  });

  it("creation of what was there before still fails", () => {
    writeFileSync(at("f"), "");
    expect(resent(point, (call) => rig.create("f", call)).error).toBe(-E.EEXIST);
  });

  it("LINK gives one more name and succeeds", () => {
    const file = rig.create("a");
    const reply = resent(point, (call) => rig.link(file.node, "b", call));
    expect(reply.node).toBe(file.node);
    expect(statSync(at("b")).nlink).toBe(2);
  });

  it("UNLINK succeeds and the file stays usable", () => {
    writeFileSync(at("f"), "content");
    const file = rig.lookup("f");
    expect(resent(point, (call) => rig.unlink("f", call)).error).toBe(0);
    expect(existsSync(at("f"))).toBe(false);
    expect(rig.getattr(file.node).attr(16)).toMatchObject({ nlink: 0, size: 7 });
    rig.forget(file.node);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
  });

  it("UNLINK of what was never there still fails", () => {
    expect(resent(point, (call) => rig.unlink("absent", call)).error).toBe(-E.ENOENT);
  });

  it("RMDIR succeeds", () => {
    rig.mkdir("d");
    expect(resent(point, (call) => rig.send(Opcode.RMDIR, fields("d"), call)).error).toBe(0);
    expect(existsSync(at("d"))).toBe(false);
  });

  it("RENAME over a file in use succeeds, both files keep their dirty data", () => {
    writeFileSync(at("a"), "source");
    writeFileSync(at("b"), "target");
    const [source, target] = [rig.lookup("a"), rig.lookup("b")];
    rig.dirty(source.slot, 8192, 1);
    rig.dirty(target.slot, 12288, 1);
    expect(resent(point, (call) => rig.rename("a", "b", 0, 1n, call)).error).toBe(0);
    expect(readFileSync(at("b"), "latin1")).toBe("source");
    expect(existsSync(at("a"))).toBe(false);
    expect(contentOf(source)).toBe("source");
    expect(contentOf(target)).toBe("target");
    expect(rig.getattr(source.node).attr(16)).toMatchObject({ size: 8192, nlink: 1 });
    expect(rig.getattr(target.node).attr(16)).toMatchObject({ size: 12288, nlink: 0 });
    rig.forget(target.node);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
  });

  it("RENAME EXCHANGE exchanges once", () => {
    writeFileSync(at("a"), "one");
    writeFileSync(at("b"), "two");
    const [a, b] = [rig.lookup("a"), rig.lookup("b")];
    expect(resent(point, (call) => rig.rename("a", "b", 2, 1n, call)).error).toBe(0);
    expect(readFileSync(at("a"), "latin1")).toBe("two");
    expect(contentOf(a)).toBe("one");
    expect(contentOf(b)).toBe("two");
  });

  it("TMPFILE leaves one file", () => {
    const reply = resent(point, (call) => rig.send(Opcode.TMPFILE, fields(0o2, 0o600, 0, 0, ""), call));
    expect(reply.error).toBe(0);
    expect(reply.entry.nlink).toBe(0);
    expect(readdirSync(at(".hypegear/held"))).toEqual([rig.inodes.records.name(reply.slot)]);
  });
});

/** What the image's home holds, as writeback reaches it. */
function contentOf(reply: Reply): string {
  const fd = rig.inodes.openHome(reply.slot, 0);
  return readFileSync(fd, "latin1");
}

describe("a new engine", () => {
  it("knows every node that the kernel knows, and gives none of them to another file", () => {
    const dir = rig.mkdir("d");
    const file = rig.create("f", { node: dir.node });
    const gone = rig.create("gone");
    rig.forget(gone.node);
    rig.restart();
    expect(rig.getattr(file.node).error).toBe(0);
    expect(rig.lookup("f", dir.node).node).toBe(file.node);
    expect(rig.getattr(gone.node).error).toBe(-E.ESTALE);
    expect(rig.create("next").node).not.toBe(gone.node);
  });

  it("begins anew when the first was killed before it had begun", () => {
    rig.inodes.records.setUsed(asSlot(0), false);
    rig.inodes.records.everUsed = 0;
    rig.restart();
    expect(rig.mkdir("d").error).toBe(0);
  });

  it("removes held files that no record claims", () => {
    writeFileSync(at(".hypegear/held/77"), "left over");
    rig.restart();
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
  });

  it("does not take an old request's result for a new one with the same number", () => {
    rig.mkdir("d", 0o755, { unique: UNIQUE });
    rig.restart(true);
    expect(rig.mkdir("d", 0o755, { unique: UNIQUE, resent: true }).error).toBe(-E.EEXIST);
  });
});

describe("a new mount", () => {
  it("keeps dirty files and the directories above them, and nothing else", () => {
    const dir = rig.mkdir("d");
    const dirty = rig.create("dirty", { node: dir.node });
    const clean = rig.create("clean", { node: dir.node });
    rig.dirty(dirty.slot, 4096, 1);
    rig.restart(true);
    expect(rig.getattr(clean.node).error).toBe(-E.ESTALE);
    expect(rig.inodes.openHome(dirty.slot, 0)).toBeGreaterThan(0);
    expect(rig.inodes.count).toBe(3);
    expect(rig.lookup("dirty", rig.lookup("d").node).entry.size).toBe(4096);
  });

  it("drops files that were held for the old kernel only", () => {
    const file = rig.create("f");
    rig.dirty(file.slot, 4096, 1);
    rig.unlink("f");
    rig.restart(true);
    expect(rig.inodes.count).toBe(1);
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
    expect(rig.data.discarded).toEqual([file.slot]);
  });
});

describe("the end of a mount", () => {
  it("removes held files, and keeps what is dirty until it is home", () => {
    const held = rig.create("held");
    const dirty = rig.create("dirty");
    rig.dirty(dirty.slot, 4096, 1);
    rig.unlink("held");
    rig.inodes.forgetAll();
    expect(readdirSync(at(".hypegear/held"))).toEqual([]);
    expect(rig.getattr(held.node).error).toBe(-E.ESTALE);
    expect(rig.inodes.count).toBe(2);
    rig.data.clean(dirty.slot);
    expect(rig.inodes.count).toBe(1);
  });
});

describe("after a kill, a file has one record", () => {
  /** Gives the record of `slot` the inode number of `name`, with the type and birth that it has. */
  function takesNumberOf(slot: InodeSlot, name: string): void {
    const { records } = rig.inodes;
    const { birth } = records.identity(slot);
    const stat = new Stat();
    stat.read(rig.inodes.directories.rootFd, Buffer.from(`${name}\0`));
    stat.bytes.writeUInt16LE(records.mode(slot), StatxAt.mode);
    const seconds = Math.floor(birth / 1e9) - 1;
    stat.bytes.writeBigUInt64LE(BigInt(seconds), StatxAt.birth);
    records.identify(slot, stat);
  }

  it.for(["before", "after"])(
    "though a directory removed in use, whose record came %s its own, had its number",
    (order) => {
      const early = order === "before" ? rig.mkdir("d") : undefined;
      const file = rig.create("f");
      const dir = early ?? rig.mkdir("d");
      expect(rig.send(Opcode.RMDIR, fields("d")).error).toBe(0);
      takesNumberOf(dir.slot, "f");
      for (let kills = 0; kills < 2; kills++) {
        rig.restart();
        expect(rig.lookup("f").node).toBe(file.node);
        expect(rig.getattr(dir.node).error).toBe(-E.ESTALE);
      }
    },
  );

  it.for(["before", "after"])(
    "though a file removed beneath, whose record came %s its own, had its number",
    (order) => {
      const early = order === "before" ? rig.create("gone") : undefined;
      const file = rig.create("f");
      const gone = early ?? rig.create("gone");
      rmSync(at("gone"));
      takesNumberOf(gone.slot, "f");
      rig.restart();
      expect(rig.lookup("f").node).toBe(file.node);
    },
  );

  it("and not that of one which no name led to, whose number it has, where no births tell them apart", () => {
    const lost = rig.create("lost");
    rig.inodes.directories.keepNameless(lost.slot);
    rmSync(at("lost"));
    rig.inodes.unname(lost.slot);
    writeFileSync(at("f"), "");
    const stat = new Stat();
    stat.read(rig.inodes.directories.rootFd, Buffer.from("f\0"));
    rig.inodes.records.identify(lost.slot, stat);
    rig.restart();
    expect(rig.lookup("f").node).not.toBe(lost.node);
    expect(rig.getattr(lost.node).error).toBe(-E.ESTALE);
  });

  it("though it was killed as it wrote down that the file is held, and another name is left", () => {
    const file = rig.create("a");
    rig.link(file.node, "b");
    rig.images.setFlags = () => {
      throw new Killed();
    };
    expect(() => rig.unlink("a", { unique: UNIQUE })).toThrow(Killed);
    rig.restart();
    expect(rig.unlink("a", { unique: UNIQUE, resent: true }).error).toBe(0);
    expect(rig.lookup("b").node).toBe(file.node);
    expect(statSync(at("b")).nlink).toBe(1);
  });
});
