/** The backing directory may belong to another user: no symbolic link in it leads what root does there elsewhere. */
import {
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { hypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { cutPower, killBoth, places, startKeeper, stopped } from "./stubbed.ts";

const NAMES = ["lock", "state.json", "state.new", "void"];

/** A directory whose files bear the names of ours, and what they should hold for ever. */
function victim(): { directory: string; expectWhole: () => void } {
  const directory = scratchDirectory("victim");
  for (const name of NAMES) writeFileSync(join(directory, name), name);
  return {
    directory,
    expectWhole: () => {
      expect(readdirSync(directory).sort()).toEqual(NAMES);
      for (const name of NAMES) expect(readFileSync(join(directory, name), "utf8")).toBe(name);
    },
  };
}

test("a link in the place of a new file is replaced, and what it names stays as it is", async (context) => {
  need(context, "root");
  const at = places();
  const { directory, expectWhole } = victim();
  const own = join(at.backing, ".hypegear");
  mkdirSync(own);
  symlinkSync(join(directory, "state.new"), join(own, "state.new"));
  const started = await startKeeper(at, "serve");
  expect(started.report).toMatchObject({ type: "ready" });
  expect(lstatSync(join(own, "state.json")).isFile()).toBe(true);
  await stopped(at, started);
  expectWhole();
});

test.for(["state.json", "lock"])("a link in the place of %s is refused", async (name, context) => {
  need(context, "root");
  const at = places();
  const { directory, expectWhole } = victim();
  const own = join(at.backing, ".hypegear");
  mkdirSync(own);
  symlinkSync(join(directory, name), join(own, name));
  const { report } = await startKeeper(at, "serve");
  expect(report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
  expect(JSON.stringify(report)).toContain(`${own}: cannot be used: it, or a file in it, is a symbolic link`);
  expectWhole();
});

test("a link in the place of .hypegear is refused by mount, check and recover", async (context) => {
  need(context, "root");
  const at = places();
  const { directory, expectWhole } = victim();
  symlinkSync(directory, join(at.backing, ".hypegear"));
  expect((await startKeeper(at, "serve")).report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
  for (const command of ["check", "recover"])
    expect(await hypegear([command, at.backing])).toMatchObject({
      code: ExitCode.refused,
      stderr: expect.stringMatching(/^hypegear: [^\n]*symbolic link[^\n]*; remove that\n$/) as string,
    });
  expectWhole();
});

test("a link that takes the place of .hypegear during a mount leads nothing astray at its end", async (context) => {
  need(context, "root");
  const at = places();
  const { directory, expectWhole } = victim();
  const own = join(at.backing, ".hypegear");
  const started = await startKeeper(at, "serve");
  renameSync(own, join(at.backing, "moved"));
  symlinkSync(directory, own);
  started.keeper.kill("SIGTERM");
  expect(await started.ended).toBe(ExitCode.done);
  expectWhole();
  expect(readdirSync(join(at.backing, "moved"))).toEqual([]);
});

test("a link in the place of the held files is not followed by recover", async (context) => {
  need(context, "root");
  const at = places();
  const { directory, expectWhole } = victim();
  await killBoth(await startKeeper(at, "serve"), at);
  await cutPower(at);
  const held = join(at.backing, ".hypegear/held");
  rmSync(held, { recursive: true, force: true });
  symlinkSync(directory, held);
  expect((await hypegear(["recover", at.backing])).code).toBe(ExitCode.done);
  expectWhole();
  rmSync(held);
  rmdirSync(join(at.backing, ".hypegear"));
});
