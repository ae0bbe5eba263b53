import { mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Cpio } from "../../../src/cli/demo/cpio.ts";
import { need } from "../../support/need.ts";
import { run } from "../../support/run.ts";
import { scratchDirectory } from "../../support/scratch.ts";

test("cpio unpacks what was put in: contents of every padding, modes, links and devices", async (context) => {
  need(context, "cpio", "root");
  const archive = new Cpio().symlink("bin/sh", "busybox").characterDevice("dev/console", 5, 1).folder("dev");
  const contents = [0, 1, 2, 3, 4, 5, 4097].map((length) => Buffer.alloc(length, 0x61 + (length % 26)));
  for (const [index, content] of contents.entries()) archive.file(`deep/er/file${index}`, content, 0o751);
  const folder = scratchDirectory("cpio");
  const tree = join(folder, "tree");
  mkdirSync(tree);
  writeFileSync(join(folder, "archive"), archive.bytes());

  const { code, stderr } = await run("cpio", ["-i", "-F", join(folder, "archive")], { cwd: tree });

  expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^\d+ blocks?\n$/) });
  for (const [index, content] of contents.entries()) {
    const file = join(tree, `deep/er/file${index}`);
    expect(readFileSync(file).equals(content)).toBe(true);
    expect(statSync(file).mode & 0o7777).toBe(0o751);
  }
  expect(readlinkSync(join(tree, "bin/sh"))).toBe("busybox");
  expect(statSync(join(tree, "dev/console")).rdev).toBe(0x501);
});
