/** The backing directory as recovery opens it. */
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import type { ReplayFile } from "../../src/journal/replay.ts";
import { BackingTarget, FileOfBacking } from "../../src/keeper/replay-target.ts";
import * as libc from "../../src/sys/libc.ts";
import { Stat } from "../../src/sys/stat.ts";
import { need } from "../support/need.ts";
import { ordinaryUser } from "../support/ordinary-user.ts";
import { scratchDirectory } from "../support/scratch.ts";

const USER = 65534;
const MIB = 2 ** 20;

it("an ordinary user's recovery writes an image that its own mode closes to it, and leaves the mode", (context) => {
  need(context, "root");
  const backing = scratchDirectory("backing");
  const image = join(backing, "a.img");
  chmodSync(backing, 0o755);
  writeFileSync(image, "content", { mode: 0o444 });
  chownSync(image, USER, USER);
  const root = openSync(backing, constants.O_RDONLY | constants.O_DIRECTORY);
  const stat = new Stat();
  stat.read(root, libc.cstring("a.img"));
  const identity = { inode: String(statSync(image).ino), birth: stat.birth };
  const open = (): unknown => ordinaryUser(USER, () => new BackingTarget(root).open(identity, "a.img"));

  const file = open() as ReplayFile;
  expect(file.write(0, Buffer.from("CONTENT"))).toBe(7);
  file.close();
  expect(readFileSync(image, "latin1")).toBe("CONTENT");
  expect(statSync(image).mode & 0o7777).toBe(0o444);
  chownSync(image, 0, 0);
  expect(open()).toBe(-E.EACCES);
  closeSync(root);
});

it("a range that is wiped reads as zeros, holes in it stay holes, and the rest stays", () => {
  const path = join(scratchDirectory("wiped"), "a.img");
  const data = Buffer.alloc(MIB, 7);
  const size = 4 * MIB;
  writeFileSync(path, data);
  truncateSync(path, size);
  const file = new FileOfBacking(openSync(path, constants.O_RDWR));
  expect(file.write(3 * MIB, data)).toBe(MIB);
  expect(file.flush()).toBe(0);
  const { blocks } = statSync(path);
  const [from, to] = [MIB / 2, 3.5 * MIB];
  expect(file.wipe(from, to - from)).toBe(0);
  expect(file.flush()).toBe(0);
  const expected = Buffer.concat([data.subarray(from), Buffer.alloc(to - from), data.subarray(from)]);
  expect(readFileSync(path).equals(expected)).toBe(true);
  expect(statSync(path).blocks).toBeLessThanOrEqual(blocks);
  expect(file.wipe(from, 2 * size)).toBe(0);
  expect(file.size).toBe(size);
  file.close();
});
