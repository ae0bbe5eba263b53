/** The backing directory as recovery opens it. */
import { chmodSync, chownSync, closeSync, constants, openSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import type { ReplayFile } from "../../src/journal/replay.ts";
import { BackingTarget } from "../../src/keeper/replay-target.ts";
import * as libc from "../../src/sys/libc.ts";
import { Stat } from "../../src/sys/stat.ts";
import { need } from "../support/need.ts";
import { ordinaryUser } from "../support/ordinary-user.ts";
import { scratchDirectory } from "../support/scratch.ts";

const USER = 65534;

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
