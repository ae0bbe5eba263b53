/** Killed load: the engine dies once a second under verified writes, and no client sees an error or a wrong byte. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type StatsDocument, unaccountedBlocks } from "../../src/stats/document.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { waitFor } from "../support/wait.ts";
import { digests, type FioJob, type FioReport, fio, worstMs } from "./fio.ts";
import { scaled } from "./scale.ts";

const SECONDS = scaled(20);

const statsOf = async ({ mountpoint }: Daemon): Promise<StatsDocument> =>
  JSON.parse(await readFile(join(mountpoint, ".hypegear", "stats.json"), "utf8")) as StatsDocument;

/** Kills the engine, once each second and each time that a new one serves; how often. */
async function killEverySecond(daemon: Daemon, seconds: number): Promise<number> {
  let dead = 0;
  let kills = 0;
  for (; kills < seconds; kills++) {
    await sleep(1000);
    dead = await waitFor("a new engine", async () => {
      const { pid } = (await statsOf(daemon)).engine;
      return pid !== dead && pid;
    });
    await daemon.kill("engine");
  }
  return kills;
}

test.for(["uring", "threads"])(
  "with --io %s, the engine killed every second costs no client an error or a byte",
  { timeout: (SECONDS * 3 + 120) * 1000 },
  async (io, context) => {
    need(context, "root", "/dev/fuse", "fio");
    const daemon = await mountHypegear({ args: ["--cache-size", "16M", "--io", io] });
    const seconds = io === "uring" ? SECONDS : Math.ceil(SECONDS / 2);
    const job = (name: string, rest: Omit<FioJob, "file" | "mib" | "seconds">): Promise<FioReport[]> =>
      fio({ ...rest, file: join(daemon.mountpoint, name), mib: 48, seconds });

    const [kills, ...reports] = await Promise.all([
      killEverySecond(daemon, seconds - 1),
      job("libaio", { engine: "libaio", direct: true }),
      job("io_uring", { engine: "io_uring", direct: true, fsync: 100 }),
      job("buffered", { engine: "psync", direct: false }),
      job("mapped", { engine: "mmap", direct: false }),
    ]);

    console.log(`--io ${io}: ${kills} kills, the longest wait of a client was ${worstMs(reports.flat())} ms`);
    const names = ["libaio", "io_uring", "buffered", "mapped"];
    const shown = await digests(daemon.mountpoint, names);
    expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
    const stats = await statsOf(daemon);
    expect(stats.engine.restarts).toBe(kills);
    expect(unaccountedBlocks(stats)).toBe(0);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(await digests(daemon.backing, names)).toEqual(shown);
    expect(daemon.log).not.toMatch(/hit a bug/);
  },
);
