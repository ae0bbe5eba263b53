/** The image that a path names. */
import { linkSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ExitCode, Failure } from "../../src/base/errors.ts";
import { slotAt } from "../../src/engine/paths.ts";
import { Opcode } from "../../src/fuse/constants.ts";
import { fields, Rig } from "../fs/rig.ts";

let rig: Rig;
const at = (name: string): string => join(rig.backing, name);
beforeEach(() => {
  rig = new Rig();
});
afterEach(() => rig.close());

describe("slotAt", () => {
  it("finds an image by any of its names: its record's, a hard link, a symlink, through a symlinked directory", () => {
    const dir = rig.mkdir("dir");
    const file = rig.create("a.img", { node: dir.node });
    mkdirSync(at("deep"));
    linkSync(at("dir/a.img"), at("deep/hard.img"));
    symlinkSync("dir/a.img", at("soft.img"));
    symlinkSync("./dir/", at("way"));
    symlinkSync("../way/./../deep/hard.img", at("deep/soft.img"));
    for (const path of ["dir/a.img", "./dir//a.img", "deep/hard.img", "soft.img", "way/a.img", "deep/soft.img"])
      expect(slotAt(rig.inodes, path), path).toBe(file.slot);
  });

  it("knows nothing of a file that has no record, whatever had its name before", () => {
    writeFileSync(at("a.img"), "");
    symlinkSync("a.img", at("soft.img"));
    expect([slotAt(rig.inodes, "a.img"), slotAt(rig.inodes, "soft.img")]).toEqual([undefined, undefined]);
  });

  it("refuses what leads outside, what is no regular file, and what is not there, each with a reason", () => {
    rig.mkdir("dir");
    rig.send(Opcode.SYMLINK, fields("absolute", "/etc/passwd"));
    for (const [name, target] of [
      ["up", "../outside"],
      ["loop", "loop"],
      ["dangling", "nothing"],
      ["own", ".hypegear/held"],
    ] as const)
      symlinkSync(target, at(name));
    const refusal = (path: string): [string, ExitCode] => {
      try {
        throw new Error(`found ${slotAt(rig.inodes, path)}`);
      } catch (error) {
        if (error instanceof Failure) return [error.message, error.exitCode];
        throw error;
      }
    };
    const outside = "leads out of the mount; give the image's path in it";
    expect(refusal("absolute")).toEqual([`flush absolute: ${outside}`, ExitCode.usage]);
    expect(refusal("up")).toEqual([`flush up: ${outside}`, ExitCode.usage]);
    expect(refusal("dir")).toEqual(["flush dir: not a regular file; give an image", ExitCode.usage]);
    expect(refusal("loop")).toEqual(["flush loop: ELOOP; see the backing directory", ExitCode.failed]);
    for (const path of ["dangling", "own", ".hypegear/held"])
      expect(refusal(path)).toEqual([`flush ${path}: ENOENT; give a path below the mount`, ExitCode.failed]);
    for (const path of ["..", "dir/../a", ""]) expect(refusal(path)[1]).toBe(ExitCode.usage);
  });
});
