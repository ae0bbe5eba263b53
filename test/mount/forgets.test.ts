/** The kernel forgets very many files at once: it says so in batches, each as large as the memory that it finds for a request. */
import { mkdirSync, openSync, writeFileSync } from "node:fs";
import { open, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { BLOCK_BYTES } from "../../src/base/units.ts";
import { Slab } from "../../src/cache/slab.ts";
import { Records, ROOT } from "../../src/fs/records.ts";
import * as libc from "../../src/sys/libc.ts";
import { Seeded } from "../posix/random.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { kill } from "../support/processes.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { statsOf } from "./kills.ts";

/** More than a batch can hold that is as large as the largest write. */
const FILES = 90_000;
const BLOCKS = 2048;
/** So many that free frames lie scattered. */
const WRITES = 3 * BLOCKS;
const LARGE_BLOCKS = 100;
const REMOUNT = 32;

/** Writes an image all over at random, at last much at once; what it should hold. */
async function writeImage(path: string): Promise<Buffer> {
  const random = new Seeded(1);
  const wanted = Buffer.alloc(BLOCKS * BLOCK_BYTES);
  const file = await open(path, "w+");
  await file.truncate(wanted.length);
  for (let i = 0; i <= WRITES; i++) {
    const length = (i === WRITES ? LARGE_BLOCKS : 1) * BLOCK_BYTES;
    const at = random.below(BLOCKS - LARGE_BLOCKS) * BLOCK_BYTES;
    wanted.fill(`${i} `, at, at + length);
    await file.write(wanted, at, length, at);
  }
  await file.close();
  return wanted;
}

/** Has the kernel drop all names that it knows while the engine cannot listen. */
async function forgetAll(daemon: Daemon): Promise<void> {
  const engine = await daemon.enginePid();
  kill(engine, "SIGSTOP");
  const result = libc.mount(libc.cstring("none"), libc.cstring(daemon.mountpoint), null, REMOUNT, libc.cstring(""));
  kill(engine, "SIGCONT");
  expect(result).toBe(0);
}

/** Inode records in use. */
function recordsOf(daemon: Daemon): number {
  const slab = Slab.open(openSync(join(daemon.slab!, "slab"), "r+"));
  const records = new Records(slab.inodes());
  let used = 0;
  for (let slot = ROOT; slot < records.everUsed; slot++) if (records.used(slot)) used++;
  slab.close();
  return used;
}

test("many files are forgotten at once: no record of them stays, and no image's data is touched", async (context) => {
  need(context, "root", "/dev/fuse");
  const backing = scratchDirectory("backing");
  mkdirSync(join(backing, "many"));
  for (let i = 0; i < FILES; i++) writeFileSync(join(backing, "many", String(i)), "");
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "16M"] });
  for (let i = 0; i < FILES; i += 100)
    await Promise.all(Array.from({ length: 100 }, (_, j) => stat(join(daemon.mountpoint, "many", String(i + j)))));
  expect(recordsOf(daemon)).toBeGreaterThan(FILES);
  const image = join(daemon.mountpoint, "image");
  const wanted = await writeImage(image);

  await forgetAll(daemon);
  await waitFor("the records' end", () => recordsOf(daemon) < 10);
  expect((await readFile(image)).equals(wanted)).toBe(true);
  expect((await statsOf(daemon)).engine.restarts).toBe(0);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(daemon.log).not.toMatch(/hit a bug/);
  expect((await readFile(join(backing, "image"))).equals(wanted)).toBe(true);
});
