/** Where a mount's journal is made, and where not: the last rows of `journal-adoption.ts`, and what a small filesystem has room for. */
import { existsSync, readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import type { Report } from "../../src/keeper/config.ts";
import { MadeJournal } from "../journal/made.ts";
import { loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";
import { leftovers, type Places, places, readState, slabOf, startKeeper, stopped } from "./stubbed.ts";

const MiB = 2 ** 20;
const own = ({ backing }: Places): string => join(backing, ".hypegear/journal");
const text = (report: Report | undefined): string => JSON.stringify(report);

describe("a mount", () => {
  test("makes its journal beside the state, for the mounting user alone, and removes it at its end", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "serve");
    expect(started.report).toMatchObject({ type: "ready", notices: [] });
    expect(statSync(own(at))).toMatchObject({ size: 16 * MiB, blocks: (16 * MiB) / 512 });
    expect(statSync(own(at)).mode & 0o777).toBe(0o600);
    expect(readState(at.backing).journal).toMatchObject({ path: "" });
    await stopped(at, started);
  });

  test("without a cache has none", async (context) => {
    need(context, "root");
    const at = places();
    const { report, ...started } = await startKeeper(at, "serve", {}, [], { cache: false });
    expect(report?.type).toBe("ready");
    expect(existsSync(own(at))).toBe(false);
    expect(readState(at.backing).journal).toBeUndefined();
    await stopped(at, { report, ...started });
  });

  test.for(["empty", "of zeros"])(
    "takes a file that is %s, where the user wants it, and removes it",
    async (kind, context) => {
      need(context, "root");
      const at = places();
      const path = join(scratchDirectory("journal"), "log");
      writeFileSync(path, kind === "empty" ? "" : Buffer.alloc(3 * MiB));
      const started = await startKeeper(at, "serve", { journal: path });
      expect(readState(at.backing).journal?.path).toBe(path);
      expect(statSync(path).size).toBe(16 * MiB);
      await stopped(at, started);
      expect(existsSync(path)).toBe(false);
    },
  );

  test("uses a block device whole, and wipes both its ends, so that the next may have it", async (context) => {
    need(context, "root", "losetup");
    const file = join(scratchDirectory("device"), "disk");
    writeFileSync(file, "");
    truncateSync(file, 24 * MiB);
    const device = (await succeed("losetup", ["--find", "--show", file])).trim();
    testScope(() => succeed("losetup", ["--detach", device]));
    const at = places();
    for (let round = 1; round <= 2; round++) {
      const started = await startKeeper(at, "serve", { journal: device, journalBytes: undefined });
      expect(started.report).toMatchObject({ type: "ready" });
      await stopped(at, started);
    }
    const sized = await startKeeper(at, "serve", { journal: device });
    expect(text(sized.report)).toContain("a device is used whole; leave --journal-size out");
    writeFileSync(file, "a filesystem of somebody's", { flag: "r+" });
    await succeed("losetup", ["--detach", device]);
    await succeed("losetup", [device, file]);
    const refused = await startKeeper(at, "serve", { journal: device, journalBytes: undefined });
    expect(refused.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    expect(leftovers(at)).toEqual([]);
  });
});

/** Directories for one test, the backing directory on a filesystem of its own. */
async function onFilesystem(sizeMiB: number): Promise<Places> {
  const { directory } = await loopFilesystem("ext4", sizeMiB);
  testScope(() => removeSlab(dirname(slabOf(directory))));
  return { ...places(), backing: directory };
}

describe("a mount on a small filesystem", () => {
  test("goes without a journal in sync, and says why; ordered and a size of the user's are refused", async (context) => {
    need(context, "root", "losetup", "mkfs.ext4");
    const at = await onFilesystem(32);
    const started = await startKeeper(at, "serve", { journalBytes: undefined });
    expect(text(started.report)).toMatch(
      /no journal: [\d.]+M are free, a journal needs 32M; flushes take their image home/,
    );
    await stopped(at, started);
    const ordered = await startKeeper(at, "serve", { journalBytes: undefined }, [], {}, { durability: "ordered" });
    expect(ordered.report).toMatchObject({ type: "failed", exitCode: ExitCode.failed });
    expect(text(ordered.report)).toMatch(/--durability ordered needs a journal, and .* are free/);
    const sized = await startKeeper(at, "serve", { journalBytes: 64 * MiB });
    expect(sized.report).toMatchObject({ type: "failed", exitCode: ExitCode.failed });
    expect(text(sized.report)).toMatch(
      /a journal of 64M cannot be made \(ENOSPC\); free some, or give a smaller --journal-size/,
    );
    expect(leftovers(at)).toEqual([]);
  });

  test("takes an eighth of what is free, when the user says nothing", async (context) => {
    need(context, "root", "losetup", "mkfs.ext4");
    const at = await onFilesystem(256);
    const started = await startKeeper(at, "serve", { journalBytes: undefined });
    expect(statSync(own(at)).size / MiB).toBeGreaterThan(16);
    expect(statSync(own(at)).size / MiB).toBeLessThan(32);
    await stopped(at, started);
  });
});

describe("where a journal is to be made", () => {
  const made = (backing: string, commits: number): Buffer => {
    const journal = new MadeJournal({ backing });
    for (let i = 0; i < commits; i++) journal.commit({ records: [{ block: i, fill: 1 }], size: 8192 });
    return journal.bytes;
  };

  const OCCUPANTS: { what: string; bytes: (backing: string) => Buffer | string; told: RegExp | undefined }[] = [
    {
      what: "a file of somebody's",
      bytes: () => "notes",
      told: /is not a hypegear journal; give another path or remove it/,
    },
    {
      what: "an image that begins with zeros",
      bytes: () => Buffer.concat([Buffer.alloc(5 * MiB), Buffer.from("data")]),
      told: /is not a hypegear journal/,
    },
    {
      what: "another directory's journal",
      bytes: () => made("/srv/other", 1),
      told: /is the journal of \/srv\/other, which may not have it all home/,
    },
    {
      what: "an unknown journal of this directory",
      bytes: (backing) => made(backing, 2),
      told: /with writes that may not be home; hypegear recover/,
    },
    { what: "an unknown, empty one", bytes: (backing) => made(backing, 0), told: undefined },
    {
      what: "a journal cut short",
      bytes: () => made("/srv/other", 1).subarray(0, 65_536),
      told: /this journal has another length/,
    },
  ];

  test.for(OCCUPANTS)("$what is never written over (fault 13)", async ({ bytes, told }, context) => {
    need(context, "root");
    const at = places();
    const path = join(scratchDirectory("journal"), "log");
    writeFileSync(path, bytes(at.backing));
    const before = readFileSync(path);
    for (const force of [false, true]) {
      const started = await startKeeper(at, "serve", { journal: path, force });
      if (told === undefined) {
        await stopped(at, started);
        return;
      }
      expect(started.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
      expect(text(started.report)).toMatch(told);
      expect(text(started.report)).not.toMatch(/\\n/);
      expect(readFileSync(path).equals(before)).toBe(true);
      expect(leftovers(at)).toEqual([]);
    }
  });

  test("the journal of a live mount is refused, and a directory", async (context) => {
    need(context, "root");
    const path = join(scratchDirectory("journal"), "log");
    const [at, other] = [places(), places()];
    const first = await startKeeper(at, "serve", { journal: path });
    const second = await startKeeper(other, "serve", { journal: path });
    expect(text(second.report)).toContain(`is the journal of ${at.backing}, which is mounted; give another --journal`);
    await stopped(at, first);
    const directory = await startKeeper(other, "serve", { journal: scratchDirectory("directory") });
    expect(text(directory.report)).toContain("is neither a file nor a block device; give another path or remove it");
    expect(leftovers(other)).toEqual([]);
  });
});
