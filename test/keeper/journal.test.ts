/** Which journal a mount has: made, carried on with, brought home, or refused; the rows of `journal-adoption.ts`. */
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { SUPERBLOCK_BYTES } from "../../src/journal/layout.ts";
import type { Report } from "../../src/keeper/config.ts";
import { MadeJournal } from "../journal/made.ts";
import { loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import {
  cutPower,
  events,
  killBoth,
  leftovers,
  type Places,
  places,
  readState,
  startKeeper,
  writeState,
} from "./stubbed.ts";

const MiB = 2 ** 20;
const own = ({ backing }: Places): string => join(backing, ".hypegear/journal");
const text = (report: Report | undefined): string => JSON.stringify(report);

/** Changes both superblocks of the journal at `path`. */
function onSuperblocks(path: string, change: (block: Buffer) => void): void {
  const fd = openSync(path, "r+");
  for (const slot of [0, 1]) {
    const block = Buffer.alloc(SUPERBLOCK_BYTES);
    readSync(fd, block, 0, block.length, slot * SUPERBLOCK_BYTES);
    change(block);
    writeSync(fd, block, 0, block.length, slot * SUPERBLOCK_BYTES);
  }
  closeSync(fd);
}

const sealed = (block: Buffer): void => void block.writeUInt32LE(crc32(block.subarray(12)), 8);

interface Harm {
  what: string;
  harm: (path: string) => void;
  /** How it is told of a journal that the state names. */
  told: RegExp;
}

const HARMS: readonly Harm[] = [
  { what: "missing", harm: (path) => rmSync(path), told: /is missing/ },
  { what: "blank", harm: (path) => onSuperblocks(path, (block) => block.fill(0)), told: /is blank/ },
  {
    what: "damaged",
    harm: (path) => onSuperblocks(path, (block) => void (block[100]! ^= 1)),
    told: /is damaged: neither of its superblocks is whole/,
  },
  { what: "cut short", harm: (path) => truncateSync(path, 8 * MiB), told: /has another length than it was made with/ },
  {
    what: "a newer program's",
    harm: (path) =>
      onSuperblocks(path, (block) => {
        block.writeUInt32LE(99, 12);
        sealed(block);
      }),
    told: /was made by a newer hypegear/,
  },
  { what: "something else", harm: (path) => writeFileSync(path, "notes"), told: /is not a hypegear journal/ },
  {
    what: "another mount's",
    harm: (path) =>
      onSuperblocks(path, (block) => {
        block.fill(7, 16, 32);
        sealed(block);
      }),
    told: /is not the one that the state names/,
  },
];

/** A mount with a journal, and keeper and engine dead. */
async function dead(changes: Parameters<typeof startKeeper>[2] = {}): Promise<Places> {
  const at = places();
  await killBoth(await startKeeper(at, "serve", changes), at);
  return at;
}

async function stopped(at: Places, started: Awaited<ReturnType<typeof startKeeper>>): Promise<void> {
  started.keeper.kill("SIGTERM");
  expect(await started.ended).toBe(ExitCode.done);
  expect(leftovers(at)).toEqual([]);
}

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

describe("a mount on a small filesystem", () => {
  test("goes without a journal in sync, and says why; ordered and a size of the user's are refused", async (context) => {
    need(context, "root", "losetup", "mkfs.ext4");
    const { directory } = await loopFilesystem("ext4", 32);
    const at = { ...places(), backing: directory };
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
    const { directory } = await loopFilesystem("ext4", 256);
    const at = { ...places(), backing: directory };
    const started = await startKeeper(at, "serve", { journalBytes: undefined });
    expect(statSync(own(at)).size / MiB).toBeGreaterThan(16);
    expect(statSync(own(at)).size / MiB).toBeLessThan(32);
    await stopped(at, started);
  });
});

describe("beside a slab that is carried on with", () => {
  test("the journal is carried on with too, whatever the options say", async (context) => {
    need(context, "root");
    const at = await dead();
    const { id } = readState(at.backing).journal!;
    const other = join(scratchDirectory("journal"), "log");
    const next = await startKeeper(at, "serve", { journal: other });
    expect(text(next.report)).toMatch(
      /the journal stays .*\.hypegear\/journal, 16M, because it belongs to unwritten data/,
    );
    expect(readState(at.backing).journal).toEqual({ path: "", id });
    expect(existsSync(other)).toBe(false);
    await stopped(at, next);
  });

  test.for(HARMS)(
    "a journal that is $what is refused (fault 14); forced, a new one is made",
    async ({ what, harm, told }, context) => {
      need(context, "root");
      const at = await dead();
      const { id } = readState(at.backing).journal!;
      harm(own(at));
      const refused = await startKeeper(at, "serve");
      expect(refused.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
      expect(text(refused.report)).toMatch(told);
      expect(text(refused.report)).toContain("go on without it with --force: the slab has all writes");
      expect(readState(at.backing)).toMatchObject({ serving: true, journal: { id } });
      const forced = await startKeeper(at, "serve", { force: true });
      if (what === "a newer program's") {
        expect(forced.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
        return;
      }
      expect(forced.report).toMatchObject({ type: "ready" });
      expect(text(forced.report)).toMatch(/went on without the journal/);
      expect(events(at).at(-1)).toMatch(/start 0 adopted/);
      expect(readState(at.backing).journal!.id).not.toBe(id);
      await stopped(at, forced);
    },
  );

  test("a new journal is made if the mount before had none", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve", {}, [], { cache: false }), at);
    const next = await startKeeper(at, "serve");
    expect(next.report).toMatchObject({ type: "ready" });
    expect(readState(at.backing).journal?.path).toBe("");
    await stopped(at, next);
  });
});

describe("after a power cut", () => {
  test("the journal is brought home, and the mount gets a new one", async (context) => {
    need(context, "root");
    const at = await dead();
    const { id } = readState(at.backing).journal!;
    await cutPower(at);
    const next = await startKeeper(at, "serve");
    expect(text(next.report)).toMatch(/what the journal promises is brought home, later writes are lost/);
    expect(text(next.report)).toMatch(/recovered: the journal held nothing that was not home/);
    expect(readState(at.backing).journal!.id).not.toBe(id);
    await stopped(at, next);
  });

  test.for(HARMS)(
    "a journal that is $what is refused; forced, what only it had is lost",
    async ({ what, harm, told }, context) => {
      need(context, "root");
      const at = await dead();
      await cutPower(at);
      harm(own(at));
      const refused = await startKeeper(at, "serve");
      expect(refused.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
      expect(text(refused.report)).toMatch(told);
      expect(text(refused.report)).toMatch(
        /and with it what was flushed and not yet home; .* accept the loss with --force/,
      );
      expect(readState(at.backing).serving).toBe(true);
      const forced = await startKeeper(at, "serve", { force: true });
      // What lies there is not written over unless it is a journal of ours with nothing in it.
      if (["missing", "blank", "damaged", "another mount's"].includes(what)) {
        expect(forced.report).toMatchObject({ type: "ready" });
        expect(text(forced.report)).toMatch(/what was flushed and not yet home is lost \(--force\)/);
        await stopped(at, forced);
      } else {
        expect(forced.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
      }
    },
  );

  test("a journal elsewhere is not taken from the directory that it is of", async (context) => {
    need(context, "root");
    const journal = join(scratchDirectory("journal"), "log");
    const [at, copy] = [await dead({ journal }), places()];
    await cutPower(at);
    cpSync(at.backing, copy.backing, { recursive: true });
    const refused = await startKeeper(copy, "serve");
    expect(refused.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    expect(text(refused.report)).toContain(`is the journal of ${at.backing}, not of ${copy.backing}`);
    const next = await startKeeper(at, "serve", { journal });
    expect(next.report).toMatchObject({ type: "ready" });
    await stopped(at, next);
  });
});

describe("without its slab in the same boot", () => {
  test("a directory is refused; forced, its journal is brought home first", async (context) => {
    need(context, "root");
    const at = await dead();
    await cutPower(at);
    writeState(at.backing, { bootId: readFileSync("/proc/sys/kernel/random/boot_id", "latin1").trim() });
    expect(text((await startKeeper(at, "serve")).report)).toContain("accept the loss with --force");
    const forced = await startKeeper(at, "serve", { force: true });
    expect(text(forced.report)).toMatch(/recovered: the journal held nothing/);
    await stopped(at, forced);
  });

  test("a copy is refused; forced, its own journal is brought home, and the original keeps its own", async (context) => {
    need(context, "root");
    const [at, copy] = [await dead(), places()];
    cpSync(at.backing, copy.backing, { recursive: true });
    expect((await startKeeper(copy, "serve")).report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    const forced = await startKeeper(copy, "serve", { force: true });
    expect(text(forced.report)).toMatch(/recovered: the journal held nothing/);
    await stopped(copy, forced);
    const next = await startKeeper(at, "serve");
    expect(text(next.report)).toContain("carrying on with the slab");
    await stopped(at, next);
  });
});

describe("a start that never served", () => {
  test("leaves a journal that the next mount ends", async (context) => {
    need(context, "root");
    const at = await dead();
    writeState(at.backing, { serving: false });
    const next = await startKeeper(at, "serve");
    expect(next.report).toMatchObject({ type: "ready", notices: [] });
    await stopped(at, next);
  });

  test("leaves half a journal, which the next mount ends too", async (context) => {
    need(context, "root");
    const at = await dead();
    writeState(at.backing, { serving: false });
    onSuperblocks(own(at), (block) => block.fill(0));
    const next = await startKeeper(at, "serve");
    expect(next.report).toMatchObject({ type: "ready", notices: [] });
    await stopped(at, next);
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

  test("a copy of a journal that the state does not name does not stand in for it", async (context) => {
    need(context, "root");
    const at = await dead();
    const path = join(scratchDirectory("journal"), "log");
    copyFileSync(own(at), path);
    const next = await startKeeper(at, "serve", { journal: path });
    expect(readState(at.backing).journal?.path).toBe("");
    await stopped(at, next);
  });
});
