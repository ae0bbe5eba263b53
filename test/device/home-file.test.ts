/** A backing file that could only be opened for reading, and what becomes of it when it is to be written. */
import { execFileSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  statSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import { asSlot } from "../../src/base/units.ts";
import { HomeDirectory, type HomeFile } from "../../src/device/home-file.ts";
import { O } from "../../src/sys/constants.ts";
import * as libc from "../../src/sys/libc.ts";
import { openOwn } from "../../src/sys/open-own.ts";
import { need } from "../support/need.ts";
import { ordinaryUser } from "../support/ordinary-user.ts";
import { scratchDirectory } from "../support/scratch.ts";

const USER = 65534;
let directory: string;
let directoryFd: number;
const at = (name: string): string => join(directory, name);
beforeEach(() => {
  directory = scratchDirectory("home");
  directoryFd = openSync(directory, constants.O_RDONLY | constants.O_DIRECTORY);
});
afterEach(() => closeSync(directoryFd));

describe("a home file", () => {
  /** That of `f`, which only `toWrite` opens for writing; or refuses to. */
  function readOnlyFile(refusal = 0): HomeFile {
    writeFileSync(at("f"), Buffer.alloc(8192, 1));
    const open = (_: unknown, flags: number, toWrite: boolean): number =>
      toWrite && refusal < 0 ? refusal : libc.openat(directoryFd, libc.cstring("f"), flags | (toWrite ? O.RDWR : 0), 0);
    return new HomeDirectory(directoryFd, open).open(asSlot(1)) as HomeFile;
  }

  it("opened for reading alone is made writable in its place: descriptors stay the same numbers", () => {
    const file = readOnlyFile();
    const before = [...file.descriptors];
    expect(() => writeSync(file.buffered, "new", 0)).toThrow(/EBADF/);
    expect(file.makeWritable()).toBe(0);
    expect(file.descriptors).toEqual(before);
    for (const fd of before) expect(libc.fcntl(fd, 3, 0) & O.ACCMODE).toBe(O.RDWR);
    for (const fd of before) expect((libc.fcntl(fd, 3, 0) & O.DIRECT) !== 0).toBe(file.isDirect(fd));
    writeSync(file.buffered, "new", 0);
    expect(readFileSync(at("f"), "latin1").slice(0, 3)).toBe("new");
    for (const fd of before) closeSync(fd);
  });

  it("that may not be written says why, and stays open for reading", () => {
    const file = readOnlyFile(-E.EROFS);
    expect([file.makeWritable(), file.makeWritable()]).toEqual([-E.EROFS, -E.EROFS]);
    expect(libc.fcntl(file.buffered, 3, 0) & O.ACCMODE).toBe(O.RDONLY);
    for (const fd of file.descriptors) closeSync(fd);
  });
});

describe("a file of ours whose mode keeps us out", () => {
  const open = (name: string, flags: number = O.RDWR): number =>
    ordinaryUser(USER, () => openOwn(directoryFd, libc.cstring(name), flags | O.NOFOLLOW | O.CLOEXEC));

  function make(name: string, owner: number, mode: number): void {
    writeFileSync(at(name), "content");
    chownSync(at(name), owner, owner);
    chmodSync(at(name), mode);
  }

  it.for(["444", "000", "555"])("is opened, and keeps its mode %s", (octal, context) => {
    need(context, "root");
    chmodSync(directory, 0o755);
    const mode = Number.parseInt(octal, 8);
    make("f", USER, mode);
    expect(ordinaryUser(USER, () => libc.openat(directoryFd, libc.cstring("f"), O.RDWR, 0))).toBe(-E.EACCES);
    const fd = open("f");
    expect(fd).toBeGreaterThan(0);
    expect(statSync(at("f")).mode & 0o7777).toBe(mode);
    writeSync(fd, "CONTENT", 0);
    closeSync(fd);
    expect(readFileSync(at("f"), "latin1")).toBe("CONTENT");
  });

  it("is left alone when it is somebody else's, a symlink, or immutable", (context) => {
    need(context, "root", "chattr");
    chmodSync(directory, 0o755);
    make("other", 0, 0o444);
    make("mine", USER, 0o444);
    execFileSync("ln", ["-s", "mine", at("link")]);
    execFileSync("chattr", ["+i", at("mine")]);
    try {
      for (const name of ["other", "link", "mine"]) expect(open(name), name).toBe(-E.EACCES);
    } finally {
      execFileSync("chattr", ["-i", at("mine")]);
    }
    expect(statSync(at("other")).mode & 0o7777).toBe(0o444);
  });
});
