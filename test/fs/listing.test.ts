import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { INODES_MAX } from "../../src/base/limits.ts";
import { Opcode } from "../../src/fuse/constants.ts";
import { fields, Rig } from "./rig.ts";

let rig: Rig;
const at = (name: string): string => join(rig.backing, name);
beforeEach(() => {
  rig = new Rig();
});
afterEach(() => rig.close());

interface Listed {
  name: string;
  cookie: bigint;
  node: bigint;
  type: number;
}

/** One READDIR or READDIRPLUS from `cookie`, decoded as the kernel does. */
function part(node: bigint, cookie: bigint, size: number, plus = false): Listed[] {
  const opcode = plus ? Opcode.READDIRPLUS : Opcode.READDIR;
  const { error, body } = rig.send(opcode, fields(0n, cookie, size, 0, 0n, 0, 0), { node });
  expect(error).toBe(0);
  expect(body.length).toBeLessThanOrEqual(size);
  const found: Listed[] = [];
  for (let next = 0; next < body.length; ) {
    const dirent = next + (plus ? 128 : 0);
    const length = body.readUInt32LE(dirent + 16);
    found.push({
      name: body.toString("latin1", dirent + 24, dirent + 24 + length),
      cookie: body.readBigUInt64LE(dirent + 8),
      node: plus ? body.readBigUInt64LE(next) : 0n,
      type: body.readUInt32LE(dirent + 20),
    });
    next = (dirent + 24 + length + 7) & ~7;
  }
  return found;
}

/** The whole listing, `between` run before each further part. */
function list(node: bigint, size: number, plus = false, between: () => void = () => undefined): Listed[] {
  const all: Listed[] = [];
  for (let cookie = 0n; ; between()) {
    const some = part(node, cookie, size, plus);
    if (some.length === 0) return all;
    all.push(...some);
    cookie = some.at(-1)!.cookie;
  }
}

const names = (entries: Listed[]): string[] => entries.map(({ name }) => name).sort();

describe("a listing", () => {
  it("has every name once, in parts of any size, and the dots", () => {
    mkdirSync(at("d"));
    for (let i = 0; i < 500; i++) writeFileSync(at(`d/file-${i}-${"x".repeat(i % 200)}`), "");
    const { node } = rig.lookup("d");
    const wanted = [".", "..", ...readdirSync(at("d"))].sort();
    for (const size of [400, 4096, 100_000]) {
      expect(names(list(node, size))).toEqual(wanted);
      expect(names(list(node, size, true))).toEqual(wanted);
    }
  });

  it("goes on where it was when the engine was killed in between, or when others list too", () => {
    mkdirSync(at("d"));
    for (let i = 0; i < 200; i++) writeFileSync(at(`d/${i}`), "");
    const { node } = rig.lookup("d");
    const wanted = [".", "..", ...readdirSync(at("d"))].sort();
    expect(names(list(node, 1024, false, () => rig.restart()))).toEqual(wanted);
    expect(names(list(node, 1024, false, () => void part(node, 0n, 1024)))).toEqual(wanted);
  });

  it("with attributes counts a look-up for every entry that it names", () => {
    writeFileSync(at("a"), "123");
    mkdirSync(at("d"));
    const entries = list(1n, 4096, true);
    const file = entries.find(({ name }) => name === "a")!;
    expect(entries.find(({ name }) => name === ".")!.node).toBe(0n);
    expect(file.type).toBe(8);
    expect(rig.getattr(file.node).attr(16).size).toBe(3);
    expect(rig.lookup("a").node).toBe(file.node);
    rig.forget(file.node, 2n);
    expect(rig.getattr(file.node).error).toBeLessThan(0);
  });

  it("hides the program's own directory in the root, and shows it on demand", () => {
    expect(names(list(1n, 4096))).toEqual([".", ".."]);
    rig.close();
    rig = new Rig({ showControl: true });
    expect(names(list(1n, 4096))).toEqual([".", "..", ".hypegear"]);
    expect(names(list(1n, 4096, true))).toEqual([".", "..", ".hypegear"]);
  });

  it("of a directory that took over another's slot is its own", () => {
    for (const name of ["one", "two"]) mkdirSync(at(name));
    for (let i = 0; i < 50; i++) writeFileSync(at(`one/${i}`), "");
    const one = rig.lookup("one");
    const cookie = part(one.node, 0n, 200).at(-1)!.cookie;
    rig.forget(one.node);
    const two = rig.lookup("two");
    expect(two.slot).toBe(one.slot);
    expect(part(two.node, cookie, 4096).every(({ name }) => name.startsWith("."))).toBe(true);
  });
});

describe("the control directory", () => {
  it("gets the look-up of its name and every request for its own nodes", () => {
    const seen: number[] = [];
    rig.close();
    rig = new Rig({
      control: (request) => {
        seen.push(request.opcode);
        return 0;
      },
    });
    rig.lookup(".hypegear");
    rig.getattr(BigInt(INODES_MAX + 1));
    rig.mkdir("d");
    expect(seen).toEqual([Opcode.LOOKUP, Opcode.GETATTR]);
  });
});
