/** The journal under a real daemon: power cuts, played by killing everything and taking the slab away, and recovery from them. */
import {
  copyFileSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { BLOCK_BYTES } from "../../src/base/units.ts";
import { RING_AT } from "../../src/journal/layout.ts";
import { unaccountedBlocks } from "../../src/stats/document.ts";
import { readState } from "../keeper/stubbed.ts";
import { type Daemon, hypegear, mountHypegear, refusedMount } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { STAMPED_BYTES, startStamper } from "./clients.ts";
import { cutPower } from "./cut.ts";
import { check } from "./stamps.ts";

const NEEDS = ["root", "/dev/fuse", "losetup", "mkfs.ext4"] as const;
const ARGS = ["--cache-size", "16M", "--journal-size", "16M"] as const;

interface Cut {
  daemon: Daemon;
  backing: string;
  image: string;
  /** Of the stamps that were written: each was flushed before the next. */
  log: () => string;
}

/** A mount on a filesystem of its own whose power was cut while stamps were written and flushed. */
async function cutUnderStamps(args: readonly string[] = ARGS, loadMs = 1200): Promise<Cut> {
  const { directory: backing } = await loopFilesystem("ext4", 256);
  const log = join(scratchDirectory("log"), "log");
  const image = join(backing, "a.img");
  writeFileSync(image, "");
  truncateSync(image, STAMPED_BYTES);
  const daemon = await mountHypegear({ backing, args });
  const stop = await startStamper(join(daemon.mountpoint, "a.img"), log, 7, "dsync");
  await sleep(loadMs);
  await cutPower(daemon);
  await stop();
  return { daemon, backing, image, log: () => readFileSync(log, "utf8") };
}

describe("a power cut in mode sync", () => {
  test.for([1, 2])(
    "loses no flushed write: recover brings it home, once and for all (round %s)",
    async (round, context) => {
      need(context, ...NEEDS);
      const { backing, image, log } = await cutUnderStamps(ARGS, round * 900);
      const before = readFileSync(image);
      expect(check(before, log()).wrong.length).toBeGreaterThan(0); // or the journal had nothing to do

      const checked = await hypegear(["check", backing]);
      expect(checked).toMatchObject({ code: 0, stdout: expect.stringMatching(/\d+ commits? of 1 image/) as string });
      expect(checked.stdout).toMatch(/a\.img: .*\n {2}verdict {2}recoverable: hypegear mount .*, or hypegear recover/);
      expect(readFileSync(image).equals(before)).toBe(true);

      const recovered = await hypegear(["recover", backing]);
      expect(recovered).toMatchObject({ code: 0, stderr: "" });
      expect(recovered.stdout).toMatch(/recovered: \S+ of 1 image brought home from \d+ commits? of the journal\n$/);
      const { wrong, promised } = check(readFileSync(image), log());
      expect(wrong.slice(0, 5)).toEqual([]);
      expect(promised).toBeGreaterThan(20);
      expect(existsSync(join(backing, ".hypegear"))).toBe(false);

      expect(await hypegear(["recover", backing])).toMatchObject({
        code: 0,
        stdout: `${backing}: nothing to bring home\n`,
      });
      expect((await hypegear(["check", backing])).stdout).toMatch(/verdict {2}clean: all is home\n$/);
    },
  );

  test("loses no flushed write: the next mount brings it home before it serves, and says so", async (context) => {
    need(context, ...NEEDS);
    const { daemon, backing, image, log } = await cutUnderStamps();
    const again = await mountHypegear({ backing, mountpoint: daemon.mountpoint, args: ARGS });
    expect(again.log).toMatch(/the host went down while .* was mounted/);
    expect(again.log).toMatch(/recovered: \S+ of 1 image brought home from \d+ commits?/);
    expect(check(readFileSync(image), log()).wrong.slice(0, 5)).toEqual([]);
    expect(check(readFileSync(join(again.mountpoint, "a.img")), log()).wrong.slice(0, 5)).toEqual([]);
    expect(again.stats().dirty.blocks).toBe(0);
    expect(await again.umount()).toMatchObject({ code: 0 });
    expect(readdirSync(backing).toSorted()).toEqual(["a.img", "lost+found"]);
  });

  test("finds an image that was renamed, and one in a directory of its own", async (context) => {
    need(context, ...NEEDS);
    const { backing, image, log } = await cutUnderStamps();
    renameSync(image, join(backing, "lost+found", "renamed"));
    expect(await hypegear(["recover", backing])).toMatchObject({ code: 0, stderr: "" });
    expect(check(readFileSync(join(backing, "lost+found", "renamed")), log()).wrong.slice(0, 5)).toEqual([]);
  });

  test("fault 15: an image removed or written since is refused, and nothing written, until it is forced", async (context) => {
    need(context, ...NEEDS);
    const { daemon, backing, image } = await cutUnderStamps();
    copyFileSync(image, `${image}.kept`);
    await sleep(6000); // what the daemon itself may have written ends a little after its last commit
    writeFileSync(image, Buffer.alloc(4096, 0x66), { flag: "r+" });
    const changed = readFileSync(image);
    const { mountpoint } = daemon;
    const refusals = [
      await hypegear(["recover", backing]),
      await refusedMount({ backing, mountpoint, args: ARGS }),
      await hypegear(["check", backing]),
    ];
    for (const { code, stdout, stderr } of refusals) {
      expect(code).toBe(3);
      expect(stdout + stderr).toMatch(/a\.img \(modified .*, after the host went down\)/);
    }
    expect(readFileSync(image).equals(changed)).toBe(true);
    expect(readState(backing).serving).toBe(true);
    const forced = await hypegear(["recover", "--force", backing]);
    expect(forced).toMatchObject({ code: 0, stderr: expect.stringMatching(/the journal goes over them/) as string });
    expect(existsSync(join(backing, ".hypegear"))).toBe(false);
  });
});

describe("a kill in mode sync", () => {
  test("keeps slab and journal together: the next mount carries on with both, and loses nothing", async (context) => {
    need(context, ...NEEDS);
    const { directory: backing } = await loopFilesystem("ext4", 256);
    const log = join(scratchDirectory("log"), "log");
    writeFileSync(join(backing, "a.img"), "");
    truncateSync(join(backing, "a.img"), STAMPED_BYTES);
    let daemon = await mountHypegear({ backing, args: ARGS });
    for (let round = 1; round <= 3; round++) {
      rmSync(join(daemon.mountpoint, "a.img"));
      writeFileSync(join(daemon.mountpoint, "a.img"), "");
      truncateSync(join(daemon.mountpoint, "a.img"), STAMPED_BYTES);
      rmSync(log, { force: true });
      const stop = await startStamper(join(daemon.mountpoint, "a.img"), log, round, "dsync");
      await sleep(500);
      await daemon.kill("engine");
      await sleep(500);
      await daemon.kill("both");
      await stop();
      expect(await hypegear(["recover", "--force", backing])).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/its slab .* is there, and has what the journal does not; mount it/) as string,
      });
      daemon = await mountHypegear({ backing, mountpoint: daemon.mountpoint, args: ARGS });
      expect(daemon.log).toMatch(/carrying on with the slab/);
      expect(daemon.stats().journal.state).toBe("ok");
      const { wrong } = check(readFileSync(join(daemon.mountpoint, "a.img")), readFileSync(log, "utf8"));
      expect(wrong.slice(0, 5)).toEqual([]);
      expect(unaccountedBlocks(daemon.stats())).toBe(0);
    }
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(check(readFileSync(join(backing, "a.img")), readFileSync(log, "utf8")).wrong.slice(0, 5)).toEqual([]);
    expect(readdirSync(backing).toSorted()).toEqual(["a.img", "lost+found"]);
  });
});

test("a journal that is damaged beside a slab is refused (fault 28); forced, it begins anew, and the slab has it all", async (context) => {
  need(context, ...NEEDS);
  const { directory: backing } = await loopFilesystem("ext4", 256);
  const log = join(scratchDirectory("log"), "log");
  writeFileSync(join(backing, "a.img"), "");
  truncateSync(join(backing, "a.img"), STAMPED_BYTES);
  const daemon = await mountHypegear({ backing, args: ARGS });
  const stop = await startStamper(join(daemon.mountpoint, "a.img"), log, 5, "dsync");
  await sleep(300);
  await daemon.kill("both");
  await stop();
  const journal = join(backing, ".hypegear/journal");
  const bytes = readFileSync(journal);
  for (let at = RING_AT; at < bytes.length; at += BLOCK_BYTES)
    if (bytes.toString("latin1", at, at + 8) === "HYPECMIT") bytes.fill(0xa5, at + 20, at + 24);
  writeFileSync(journal, bytes);
  const { mountpoint } = daemon;
  const refused = await refusedMount({ backing, mountpoint, args: ARGS });
  expect(refused.code).toBe(3);
  expect(refused.stderr).toMatch(/the journal is damaged at commit \d+; the slab has all writes: mount with --force/);
  expect(readState(backing).serving).toBe(true);

  const forced = await mountHypegear({ backing, mountpoint, args: [...ARGS, "--force"] });
  expect(forced.log).toMatch(/it begins anew, the slab has all writes \(--force\)/);
  const answered = readFileSync(log, "utf8");
  expect(check(readFileSync(join(mountpoint, "a.img")), answered).wrong.slice(0, 5)).toEqual([]);
  await waitFor("the journal to be empty", () => forced.stats().journal.commits_live === 0);
  await cutPower(forced);
  expect(await hypegear(["recover", backing])).toMatchObject({ code: 0, stderr: "" });
  expect(check(readFileSync(join(backing, "a.img")), answered).wrong.slice(0, 5)).toEqual([]);
});

const COUNTED_BYTES = 4 << 20;
const PLACES = COUNTED_BYTES / 4096;

/** Writes 1, 2, 3... one after the other, odd numbers to one image and even ones to the other, until `stop` says so. */
async function count(paths: readonly [string, string], stop: () => boolean): Promise<number> {
  const files = await Promise.all(paths.map((path) => open(path, "r+")));
  let number = 0;
  const block = Buffer.alloc(4096);
  while (!stop()) {
    number++;
    block.fill(0);
    block.writeUInt32LE(number, 0);
    await files[number % 2]!.write(block, 0, block.length, ((number * 7) % PLACES) * 4096);
    if (number % 16 === 0) await files[number % 2]!.sync();
  }
  await Promise.all(files.map((file) => file.close()));
  return number;
}

/** The largest number up to which `contents` show every write; throws if they show a later one and miss an earlier one. */
function instantOf(contents: readonly [Buffer, Buffer], written: number): number {
  const shown = (number: number): number => contents[number % 2]!.readUInt32LE(((number * 7) % PLACES) * 4096);
  let instant = 0;
  for (let number = 1; number <= written; number++) {
    // A later write of the same place stands for all before it there.
    if (shown(number) >= number) instant = Math.max(instant, shown(number));
  }
  for (let number = 1; number <= instant; number++)
    if (shown(number) < number) throw new Error(`shows write ${instant}, and misses write ${number}`);
  return instant;
}

describe("a power cut in mode ordered", () => {
  test("takes all images back to one same instant, at most a window ago", async (context) => {
    need(context, ...NEEDS);
    const { directory: backing } = await loopFilesystem("ext4", 256);
    const names = ["odd.img", "even.img"] as const;
    for (const name of names) {
      writeFileSync(join(backing, name), "");
      truncateSync(join(backing, name), COUNTED_BYTES);
    }
    const args = [...ARGS, "--durability", "ordered", "--loss-window", "300ms"];
    const daemon = await mountHypegear({ backing, args });
    const paths = [join(daemon.mountpoint, names[1]), join(daemon.mountpoint, names[0])] as const;
    let early = 0;
    let number = 0;
    const startedMs = performance.now();
    const written = await count(paths, () => {
      number++;
      if (performance.now() - startedMs < 1500) early = number;
      return performance.now() - startedMs > 3000;
    });
    expect(daemon.stats()).toMatchObject({ durability: "ordered", loss_window_us: 300_000 });
    await cutPower(daemon);
    expect(await hypegear(["recover", backing])).toMatchObject({ code: 0, stderr: "" });
    const [even, odd] = [readFileSync(join(backing, names[1])), readFileSync(join(backing, names[0]))];
    expect(instantOf([even, odd], written)).toBeGreaterThan(early);
  });
});

describe("set durability", () => {
  test("changes it under writing guests, and answers when the new promise holds", async (context) => {
    need(context, ...NEEDS);
    const { directory: backing } = await loopFilesystem("ext4", 256);
    const log = join(scratchDirectory("log"), "log");
    const image = join(backing, "a.img");
    writeFileSync(image, "");
    truncateSync(image, STAMPED_BYTES);
    const daemon = await mountHypegear({ backing, args: ARGS });
    const stop = await startStamper(join(daemon.mountpoint, "a.img"), log, 11);
    const modes = ["ordered", "volatile", "ordered", "sync", "volatile", "sync", "ordered", "sync"];
    for (const mode of modes) {
      expect(await daemon.cli("set", `durability=${mode}`)).toEqual({ code: 0, stdout: "", stderr: "" });
      expect(daemon.stats().durability).toBe(mode);
      await sleep(150);
      await daemon.kill("engine");
      expect(daemon.stats().durability).toBe(mode);
    }
    expect(await daemon.cli("set", "loss-window=1s", "durability=ordered")).toMatchObject({ code: 0 });
    expect(daemon.stats().loss_window_us).toBe(1_000_000);
    await stop();
    const answered = readFileSync(log, "utf8");
    expect(await daemon.cli("set", "durability=sync")).toMatchObject({ code: 0 });
    await cutPower(daemon); // all that was written was in flight, and is now as safe as a flush makes it
    expect(await hypegear(["recover", backing])).toMatchObject({ code: 0 });
    expect(check(readFileSync(image), answered).wrong.slice(0, 5)).toEqual([]);
  });

  test.for(["set durability=sync", "set durability=ordered", "flush"])(
    "after %s the journal goes over nothing newer, nor in an image that nobody has opened since",
    async (command, context) => {
      need(context, ...NEEDS);
      const { directory: backing } = await loopFilesystem("ext4", 64);
      writeFileSync(join(backing, "a.img"), Buffer.alloc(64 * BLOCK_BYTES));
      const daemon = await mountHypegear({ backing, args: ARGS });
      const image = await open(join(daemon.mountpoint, "a.img"), "r+");
      await image.write(Buffer.alloc(BLOCK_BYTES, "older"), 0, BLOCK_BYTES, 8 * BLOCK_BYTES);
      await image.datasync();
      expect(daemon.stats().journal.commits_live).toBe(1);
      expect(await daemon.cli("set", "durability=volatile", "max-age=1s")).toMatchObject({ code: 0 });
      const newer = Buffer.alloc(BLOCK_BYTES, "newer");
      await image.write(newer, 0, BLOCK_BYTES, 8 * BLOCK_BYTES);
      await image.close();
      await waitFor("all to be home", () => daemon.stats().dirty.blocks === 0);
      await sleep(2500); // its time of modification follows; nothing is left that the next engine would open it for
      await daemon.kill("engine");
      expect(await daemon.cli(...(command.split(" ") as [string]))).toMatchObject({ code: 0 });
      await cutPower(daemon);
      expect(await hypegear(["recover", backing])).toMatchObject({ code: 0 });
      const at = 8 * BLOCK_BYTES;
      expect(
        readFileSync(join(backing, "a.img"))
          .subarray(at, at + BLOCK_BYTES)
          .equals(newer),
      ).toBe(true);
    },
  );

  test("to ordered is refused without the cache, and so without a journal, and the mode stays", async (context) => {
    need(context, "root", "/dev/fuse");
    const daemon = await mountHypegear({ args: ["--cache", "off"] });
    const refused = await daemon.cli("set", "durability=ordered");
    expect(refused).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/takes the cache; mount without --cache off\n$/) as string,
    });
    expect(daemon.stats()).toMatchObject({ durability: "sync", journal: { state: "none" } });
    expect(await daemon.umount()).toMatchObject({ code: 0 });
  });
});
