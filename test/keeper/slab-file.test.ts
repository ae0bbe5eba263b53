/** The slab's name is known to all, and /dev/shm open to all: what another user puts there is neither opened nor removed. */
import { chmodSync, chownSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { hypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { cutPower, killBoth, places, slabOf, startKeeper, writeState } from "./stubbed.ts";

const NOBODY = 65534;
const DIRECTORY = /: \/dev\/shm\/hypegear-\w+: exists, and is no directory that only this user may use; [^\n]*\n$/;
const FILE = /: \/dev\/shm\/hypegear-\w+\/slab: is no regular file that only this user may use, [^\n]*; remove it\n$/;

interface InTheWay {
  what: string;
  /** Puts it at `path`; `elsewhere` is a directory for what it leads to. */
  put: (path: string, elsewhere: string) => unknown;
  refusal: RegExp;
}

const IN_THE_WAY: InTheWay[] = [
  { what: "a directory of another user", put: (path) => chownSync(dirname(path), NOBODY, NOBODY), refusal: DIRECTORY },
  {
    what: "a link in a directory of another user",
    put: (path, elsewhere) => {
      symlinkSync(join(elsewhere, "slab"), path);
      chownSync(dirname(path), NOBODY, NOBODY);
    },
    refusal: DIRECTORY,
  },
  { what: "a directory that others may write", put: (path) => chmodSync(dirname(path), 0o770), refusal: DIRECTORY },
  { what: "a link", put: (path, elsewhere) => symlinkSync(join(elsewhere, "slab"), path), refusal: FILE },
  { what: "a pipe", put: (path) => succeed("mkfifo", ["-m", "600", path]), refusal: FILE },
  { what: "a directory", put: (path) => mkdirSync(path), refusal: FILE },
  {
    what: "a file of another user",
    put: (path) => {
      writeFileSync(path, "", { mode: 0o600 });
      chownSync(path, NOBODY, NOBODY);
    },
    refusal: FILE,
  },
];

test.for(IN_THE_WAY)("$what in the slab's place is refused", async ({ put, refusal }, context) => {
  need(context, "root", "mkfifo");
  const at = places();
  const slab = slabOf(at.backing);
  const elsewhere = scratchDirectory("elsewhere");
  writeFileSync(join(elsewhere, "slab"), "of somebody");
  mkdirSync(dirname(slab), { mode: 0o700 });
  await put(slab, elsewhere);
  expect(await hypegear(["check", at.backing])).toMatchObject({
    code: ExitCode.refused,
    stdout: expect.stringMatching(refusal) as string,
  });
  expect(await hypegear(["mount", at.backing, at.mountpoint])).toMatchObject({
    code: ExitCode.refused,
    stderr: expect.stringMatching(refusal) as string,
  });
});

test("a link in the place of the slab's directory is refused, and what it leads to is not removed", async (context) => {
  need(context, "root");
  const at = places();
  await killBoth(await startKeeper(at, "serve"), at);
  await cutPower(at);
  writeState(at.backing, { serving: false });
  const elsewhere = scratchDirectory("elsewhere");
  writeFileSync(join(elsewhere, "slab"), "of somebody");
  symlinkSync(elsewhere, dirname(slabOf(at.backing)));
  expect(await hypegear(["mount", at.backing, at.mountpoint])).toMatchObject({
    code: ExitCode.refused,
    stderr: expect.stringMatching(DIRECTORY) as string,
  });
  expect(readdirSync(elsewhere)).toEqual(["slab"]);
});
