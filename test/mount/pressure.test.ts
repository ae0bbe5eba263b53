/** Writers faster than the device: memory is bounded, writers are slowed without a cliff, and readers beside them are served. */
import { readFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { StatsDocument } from "../../src/stats/document.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { run } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { FAULTY_NEEDS, FaultyImage } from "./faulty.ts";
import { expectSame, MiB, noise, write } from "./files.ts";
import { digests } from "./fio.ts";
import { scaled } from "./scale.ts";

const SECONDS = scaled(12);
const CACHE_MIB = 64;
/** What keeper and engine may have in memory beside the cache. */
const OWN_MIB = 200;
/** No write of the load may wait longer than this; far above the delay curve's 100 ms. */
const WAIT_MS_MAX = 5000;

/** Memory of a process, MiB: the slab it maps is in `shared`. */
function memoryOf(pid: number): { own: number; shared: number } {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  const kib = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, "m").exec(status)?.[1] ?? 0);
  return { own: (kib("RssAnon") + kib("RssFile")) / 1024, shared: kib("RssShmem") / 1024 };
}

async function watch(daemon: Daemon, engine: number): Promise<{ memoryMib: number; delayed: number; waiting: number }> {
  const worst = { memoryMib: 0, delayed: 0, waiting: 0 };
  const end = performance.now() + SECONDS * 1000;
  while (performance.now() < end) {
    await sleep(250);
    const [keeper, served] = [memoryOf(daemon.keeperPid), memoryOf(engine)];
    worst.memoryMib = Math.max(worst.memoryMib, keeper.own + served.own + served.shared);
    const text = await readFile(join(daemon.mountpoint, ".hypegear", "stats.json"), "utf8");
    const { writes, pressure, dirty } = JSON.parse(text) as StatsDocument;
    expect(dirty.bytes).toBeLessThanOrEqual(dirty.limit_bytes);
    worst.delayed = Math.max(worst.delayed, writes.delayed_requests);
    worst.waiting = Math.max(worst.waiting, pressure.waiting_requests);
  }
  return worst;
}

interface Slice {
  p50: number;
  max: number;
}

/** Latencies of each second of fio's log `file`, milliseconds. */
function slices(file: string): Slice[] {
  const seconds: number[][] = [];
  for (const line of readFileSync(file, "latin1").trimEnd().split("\n")) {
    const [at, ns] = line.split(",").map(Number) as [number, number];
    (seconds[Math.floor(at / 1000)] ??= []).push(ns / 1e6);
  }
  return seconds.filter(Boolean).map((waits) => {
    waits.sort((a, b) => a - b);
    return { p50: waits[Math.floor(waits.length / 2)]!, max: waits.at(-1)! };
  });
}

test("64 KiB writers at depth on a slow device: bounded memory, delays and no stall, and a reader is served", async (context) => {
  need(context, ...FAULTY_NEEDS, "fio");
  const backing = scratchDirectory("backing");
  const scratch = scratchDirectory("fio");
  const source = await noise(8);
  await write(source, join(backing, "quiet"), 0, 8);
  await FaultyImage.make(join(backing, "slow"), 128 * MiB, 24 * MiB);
  const daemon = await mountHypegear({ backing, args: ["--cache-size", `${CACHE_MIB}M`] });
  const engine = await daemon.enginePid();
  const job = ["--ioengine=libaio", "--direct=1", "--time_based", `--runtime=${SECONDS}`, "--output-format=terse"];
  const options = { cwd: scratch, timeout: (SECONDS + 60) * 1000 };

  const [writer, reader, worst] = await Promise.all([
    run(
      "fio",
      [
        "--name=w",
        `--filename=${join(daemon.mountpoint, "slow")}`,
        "--size=128m",
        "--rw=randwrite",
        "--bs=64k",
        "--iodepth=32",
        "--write_lat_log=w",
        "--log_avg_msec=0",
        "--fallocate=none",
        ...job,
      ],
      options,
    ),
    run(
      "fio",
      [
        "--name=r",
        `--filename=${join(daemon.mountpoint, "quiet")}`,
        "--size=8m",
        "--rw=randread",
        "--bs=4k",
        "--iodepth=1",
        "--write_lat_log=r",
        "--log_avg_msec=0",
        ...job,
      ],
      options,
    ),
    watch(daemon, engine),
  ]);

  expect(writer, writer.stderr).toMatchObject({ code: 0 });
  expect(reader, reader.stderr).toMatchObject({ code: 0 });
  const writes = slices(join(scratch, "w_clat.1.log"));
  const reads = slices(join(scratch, "r_clat.1.log"));
  const show = (all: Slice[]): string => all.map(({ p50, max }) => `${p50.toFixed(1)}/${max.toFixed(0)}`).join(" ");
  console.log(`writes, ms by the second (median/longest): ${show(writes)}\nreads: ${show(reads)}`);
  console.log(`memory at most ${Math.round(worst.memoryMib)} MiB, ${worst.delayed} writes delayed`);
  expect(worst.memoryMib).toBeLessThan(CACHE_MIB + OWN_MIB);
  expect(worst.delayed).toBeGreaterThan(0);
  expect(worst.waiting).toBeGreaterThan(0);
  expect(Math.max(...writes.map(({ max }) => max))).toBeLessThan(WAIT_MS_MAX);
  expect(Math.max(...reads.map(({ max }) => max))).toBeLessThan(WAIT_MS_MAX);
  expect(reads.length).toBeGreaterThanOrEqual(SECONDS - 2);

  const shown = await digests(daemon.mountpoint, ["slow"]);
  await expectSame(join(daemon.mountpoint, "quiet"), source);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(await digests(backing, ["slow"])).toEqual(shown);
});
