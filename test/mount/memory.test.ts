/** Fault 25: there is no memory for the engine. The kernel kills it, wherever it happens to need some; nobody is told, and nothing is lost. */
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { unaccountedBlocks } from "../../src/stats/document.ts";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { isAlive } from "../support/processes.ts";
import { run } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { MiB } from "./files.ts";
import { digests, fio } from "./fio.ts";
import { statsOf } from "./kills.ts";
import { scaled } from "./scale.ts";

const DEATHS = scaled(4);
const READERS = 16;
/** Beside what an engine has when the limit comes: less than the memory for READERS reads at a time. */
const LIMIT_BYTES = 4 * MiB;

/** Where memory is limited: cgroups of version 1, or of version 2. */
const CONTROLLERS = [
  { directory: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes" },
  { directory: "/sys/fs/cgroup", limit: "memory.max" },
];

/** A group of processes that may take LIMIT_BYTES more; undefined where the host has none to give. */
function meagreGroup(): string | undefined {
  for (const { directory, limit } of CONTROLLERS) {
    const group = join(directory, `hypegear-test-${process.pid}`);
    try {
      mkdirSync(group);
    } catch {
      continue;
    }
    if (existsSync(join(group, limit))) {
      onTestFinished(() => rmdirSync(group));
      writeFileSync(join(group, limit), String(LIMIT_BYTES));
      return group;
    }
    rmdirSync(group);
  }
  return undefined;
}

/** Reads what is home, in many large requests at a time, until `isOver`. */
async function readAll(path: string, bytes: number, isOver: () => boolean): Promise<void> {
  const reader = async (first: number): Promise<void> => {
    const file = await open(path, "r");
    const buffer = Buffer.alloc(MiB);
    for (let at = first * MiB; !isOver(); at = (at + READERS * MiB) % bytes) {
      expect((await file.read(buffer, 0, MiB, at)).bytesRead).toBe(MiB);
      expect(buffer[0]).toBe(7);
    }
    await file.close();
  };
  await Promise.all(Array.from({ length: READERS }, (_, index) => reader(index)));
}

test("an engine that is killed for want of memory is replaced, and nothing is lost", async (context) => {
  need(context, "root", "/dev/fuse", "fio");
  const group = meagreGroup()!;
  context.skip(group === undefined, "no cgroup here that limits memory");
  const backing = scratchDirectory("backing");
  writeFileSync(join(backing, "cold"), Buffer.alloc(READERS * 4 * MiB, 7));
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "16M"] });

  let deaths = 0;
  const isOver = (): boolean => deaths === DEATHS;
  const starve = async (): Promise<void> => {
    try {
      while (!isOver()) {
        const { pid } = (await statsOf(daemon)).engine; // of one that serves
        writeFileSync(join(group, "cgroup.procs"), String(pid));
        await waitFor("the engine's death", () => !isAlive(pid));
        deaths++;
      }
    } finally {
      deaths = DEATHS;
    }
  };
  const load = async (): Promise<void> => {
    do await fio({ file: join(daemon.mountpoint, "image"), engine: "libaio", direct: true, mib: 32, fsync: 100 });
    while (!isOver());
  };
  await Promise.all([starve(), load(), readAll(join(daemon.mountpoint, "cold"), READERS * 4 * MiB, isOver)]);

  const shown = await digests(daemon.mountpoint, ["image", "cold"]);
  expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
  const stats = await statsOf(daemon);
  expect(stats.engine.restarts).toBe(DEATHS);
  expect(unaccountedBlocks(stats)).toBe(0);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(await digests(daemon.backing, ["image", "cold"])).toEqual(shown);
  expect(daemon.log).not.toMatch(/hit a bug/);
}, 180_000);

/** How much of the slab is present in process `pid`, bytes. */
function slabPresent(pid: number): number {
  const [, about] = readFileSync(`/proc/${pid}/smaps`, "utf8").split(/\/slab\n/);
  return Number(/^Rss: +(\d+) kB$/m.exec(about!)![1]) * 1024;
}

// Else: 1. the kernel takes a write from its queue  2. it has to find memory for the payload  3. the engine is being killed: the write gets EIO.
test("every engine has all frames at hand before it serves", async (context) => {
  need(context, "/dev/fuse");
  const daemon = await mountHypegear({ args: ["--cache-size", "64M"] });
  for (let engine = 0; engine < 2; engine++) {
    const { pid } = (await statsOf(daemon)).engine;
    expect(slabPresent(pid)).toBeGreaterThan(64 * MiB);
    await daemon.kill("engine");
  }
});

test("root's slab is never swapped out, and on huge pages", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  const [line] = readFileSync("/proc/mounts", "utf8")
    .split("\n")
    .filter((mount) => mount.includes(` ${daemon.slab} `));
  expect(line).toMatch(/ tmpfs .*\bhuge=always\b.*\bnoswap\b/);
});

test("keeper and engine are among the last to be killed where root may ask for that", async (context) => {
  need(context, "root", "/dev/fuse");
  const mayAsk = await run("sh", ["-c", "echo -900 > /proc/self/oom_score_adj"]);
  context.skip(mayAsk.code !== 0, "CAP_SYS_RESOURCE is missing here");
  const daemon = await mountHypegear();
  for (const pid of [daemon.keeperPid, await daemon.enginePid()])
    expect(readFileSync(`/proc/${pid}/oom_score_adj`, "utf8").trim()).toBe("-900");
});
