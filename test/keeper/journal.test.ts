/** Which journal a mount has: made, carried on with, brought home, or refused; the rows of `journal-adoption.ts`. */

import { once } from "node:events";
import {
  closeSync,
  copyFileSync,
  cpSync,
  existsSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { crc32 } from "node:zlib";
import { describe, expect, test } from "vitest";
import { ExitCode, Failure } from "../../src/base/errors.ts";
import { SUPERBLOCK_BYTES } from "../../src/journal/layout.ts";
import type { Report } from "../../src/keeper/config.ts";
import { look, placeOf } from "../../src/keeper/journal-file.ts";
import { StateDirectory } from "../../src/keeper/state.ts";
import { O } from "../../src/sys/constants.ts";
import { need } from "../support/need.ts";
import { start } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";
import {
  cutPower,
  events,
  killBoth,
  type Places,
  places,
  readState,
  slabOf,
  startKeeper,
  stopped,
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

  test("a copy of a journal that the state does not name does not stand in for it", async (context) => {
    need(context, "root");
    const at = await dead();
    const path = join(scratchDirectory("journal"), "log");
    copyFileSync(own(at), path);
    const next = await startKeeper(at, "serve", { journal: path });
    expect(readState(at.backing).journal?.path).toBe("");
    await stopped(at, next);
  });

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

  test("a journal elsewhere of a directory that was moved is brought home when forced, and a new one made there", async (context) => {
    need(context, "root");
    const journal = join(scratchDirectory("journal"), "log");
    const [at, moved] = [await dead({ journal }), places()];
    await cutPower(at);
    rmSync(moved.backing, { recursive: true });
    renameSync(at.backing, moved.backing);
    testScope(() => removeSlab(dirname(slabOf(moved.backing))));
    const refused = await startKeeper(moved, "serve", { journal });
    expect(text(refused.report)).toContain("if this is the same directory, go on with --force");
    const forced = await startKeeper(moved, "serve", { journal, force: true });
    expect(text(forced.report)).toMatch(/recovered: the journal held nothing/);
    expect(readState(moved.backing).journal?.path).toBe(journal);
    await stopped(moved, forced);
    expect(existsSync(journal)).toBe(false);
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

describe("while somebody looks", () => {
  test("at the journal, as check does for long, it can be mounted", async (context) => {
    need(context, "root");
    const at = await dead();
    await cutPower(at);
    const seen = look(placeOf("", new StateDirectory(at.backing)), O.RDONLY);
    testScope(() => seen.file?.close());
    expect(seen).toMatchObject({ condition: "good", isBusy: false });
    const next = await startKeeper(at, "serve");
    expect(next.report).toMatchObject({ type: "ready" });
    await stopped(at, next);
  });

  test("at the lock, for an instant, it can be taken", async (context) => {
    need(context, "root", "flock");
    const at = await dead();
    const states = new StateDirectory(at.backing);
    const looking = start("flock", ["--shared", join(at.backing, ".hypegear/lock"), "sh", "-c", "echo; sleep 0.03"]);
    await once(looking.child.stdout!, "data");
    closeSync(states.lock(() => new Failure("in use")));
    states.leave();
    await looking.outcome;
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
