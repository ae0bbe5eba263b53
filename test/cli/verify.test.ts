/** `hypegear verify`, whole: against this program, and against copies of it that are broken on purpose. */
import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readdirSync, readFileSync, symlinkSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { places, startKeeper } from "../keeper/stubbed.ts";
import { HYPEGEAR, hypegear } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { MARK } from "../support/marks.ts";
import { mounts } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { kill, processes } from "../support/processes.ts";
import { type Outcome, run } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";

const PROJECT = fileURLToPath(new URL("../../", import.meta.url));

/** A directory with an image of the user's, and what must be in it after every check: that. */
function userImages(): { directory: string; untouched: () => void } {
  const directory = scratchDirectory("images");
  const image = join(directory, "guest.img");
  writeFileSync(image, "the user's");
  truncateSync(image, 65_536);
  const before = readFileSync(image);
  return {
    directory,
    untouched: () => {
      expect(readdirSync(directory)).toEqual(["guest.img"]);
      expect(readFileSync(image).equals(before)).toBe(true);
      expect(mounts().filter(({ mountpoint }) => mountpoint.startsWith(directory))).toEqual([]);
      expect(processes().filter(({ command }) => command.includes(directory))).toEqual([]);
    },
  };
}

test.for([
  { options: [], flushes: true },
  { options: ["--durability", "ordered", "--loss-window", "200ms"], flushes: false },
  { options: ["--durability", "volatile", "--io", "threads"], flushes: false },
])(
  "verify finds every promise kept, says which, and leaves nothing: $options",
  async ({ options, flushes }, context) => {
    need(context, "root", "/dev/fuse");
    const { directory, untouched } = userImages();
    const { code, stdout, stderr } = await hypegear(["verify", directory, ...options], { timeout: 120_000 });
    expect({ code, stderr }).toEqual({ code: ExitCode.done, stderr: "" });
    expect(stdout).not.toContain("BROKEN");
    expect(stdout).toMatch(/kept +engine killed: nothing that was answered is lost +\(5 times\)/);
    expect(stdout).toMatch(/kept +keeper and engine killed: nothing that was answered is lost +\(2 times\)/);
    expect(stdout).toMatch(/kept +umount: everything is home/);
    expect(stdout.includes("a flush returns when everything written before it is home or in the journal")).toBe(
      flushes,
    );
    expect(stdout).toMatch(/worst pause of a guest's call: \d+ ms/);
    expect(stdout).toMatch(/not checked: a loss of power/);
    untouched();
  },
);

interface Mutant {
  what: string;
  file: string;
  from: string;
  to: string;
  /** The line of the verdict that must say so. */
  found: RegExp;
}

const MUTANTS: readonly Mutant[] = [
  {
    what: "drops some published frames when it takes over",
    file: "volume/restore.js",
    from: "cache.restore(image, frame, isCommitted(frame))",
    to: "(frame % 50 === 7 ? cache.release(frame) : cache.restore(image, frame, isCommitted(frame)))",
    found: /BROKEN +engine killed: nothing that was answered is lost/,
  },
  {
    what: "answers a flush before anything is home or in the journal",
    file: "volume/committing.js",
    from: "if (this.flushesAtOnce)",
    to: "if (true)",
    found: /BROKEN +sync: a flush returns when everything written before it is home or in the journal/,
  },
  {
    what: "puts some blocks into the journal as others",
    file: "journal/commit-builder.js",
    from: "descriptor.record(index, { block,",
    to: "descriptor.record(index, { block: block ^ (frame % 50 === 7 ? 1 : 0),",
    found: /BROKEN +sync: a flush returns when everything written before it is home or in the journal/,
  },
  {
    what: "takes a home write for done that never was",
    file: "writeback/writer.js",
    from: "run.image.homeWrites++;",
    to: "run.image.homeWrites++; if (++globalThis.runs % 40 === 7) return this.end(run, 0);",
    found: /BROKEN +umount: everything is home/,
  },
];

/** A copy of the built program in which one thing is wrong. */
function broken({ file, from, to }: Mutant): string {
  const copy = scratchDirectory("mutant");
  mkdirSync(join(copy, "bin"));
  cpSync(join(PROJECT, "dist/src"), join(copy, "dist/src"), { recursive: true });
  for (const name of ["bin/hypegear", "package.json"]) cpSync(join(PROJECT, name), join(copy, name));
  symlinkSync(join(PROJECT, "node_modules"), join(copy, "node_modules"));
  const path = join(copy, "dist/src", file);
  const text = readFileSync(path, "utf8");
  expect(text.split(from).length, `${from} is in ${file} once`).toBe(2);
  writeFileSync(path, `globalThis.runs = 0;\n${text.replace(from, to)}`);
  return join(copy, "bin/hypegear");
}

test.for(MUTANTS)("verify catches a cache that $what", async (mutant, context) => {
  need(context, "root", "/dev/fuse");
  const { directory, untouched } = userImages();
  const outcome: Outcome = await run(broken(mutant), ["verify", directory], { timeout: 150_000 });
  expect(outcome).toMatchObject({ code: ExitCode.failed, stdout: expect.stringMatching(mutant.found) as string });
  untouched();
});

test("verify that is interrupted says so and removes everything", async (context) => {
  need(context, "root", "/dev/fuse");
  const { directory, untouched } = userImages();
  const child = spawn(HYPEGEAR, ["verify", directory], { stdio: "pipe", env: { ...process.env, ...MARK } });
  testScope(() => kill(child.pid!));
  const said = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const)
    child[stream].on("data", (text) => (said[stream] += String(text)));
  await waitFor("the second kill", () => said.stdout.includes("2 of 5"));
  child.kill("SIGINT");
  await waitFor("its end", () => child.exitCode !== null);
  expect(child.exitCode).toBe(ExitCode.failed);
  expect(said.stderr).toMatch(/^hypegear: verify: interrupted; .*removed\n$/);
  untouched();
});

test("verify refuses a directory that is mounted, there or elsewhere", async (context) => {
  need(context, "root");
  for (const at of [places(true), places()]) {
    await startKeeper(at, "serve");
    const outcome = await hypegear(["verify", at.backing]);
    expect(outcome).toMatchObject({ code: ExitCode.refused, stdout: "" });
    expect(outcome.stderr).toMatch(
      /^hypegear: \S+: (a hypegear mount|mounted by hypegear at \S+); .*give another directory/,
    );
  }
});

test("verify refuses where there is no room, and what is no directory or no option", async (context) => {
  need(context, "root", "/dev/fuse");
  const { directory: small } = await loopFilesystem("ext4", 64);
  const full = await hypegear(["verify", small]);
  expect(full).toMatchObject({ code: ExitCode.refused, stdout: "" });
  expect(full.stderr).toMatch(/are free, verify needs 224M; free some/);

  expect(await hypegear(["verify", "/nowhere"])).toMatchObject({ code: ExitCode.failed, stdout: "" });
  expect(await hypegear(["verify", "--cache-size", "1", small])).toMatchObject({ code: ExitCode.usage, stdout: "" });
  expect(readdirSync(small)).toEqual(["lost+found"]);
});
