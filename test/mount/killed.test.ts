/** Killed load: the engine dies once a second under verified writes, and no client sees an error or a wrong byte. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { unaccountedBlocks } from "../../src/stats/document.ts";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { MiB } from "./files.ts";
import { digests, type FioJob, type FioReport, fio, worstMs } from "./fio.ts";
import { killEngines, statsOf } from "./kills.ts";
import { scaled } from "./scale.ts";

const SECONDS = scaled(20);

test.for(["uring", "threads"])(
  "with --io %s, the engine killed every second costs no client an error or a byte",
  { timeout: (SECONDS * 3 + 120) * 1000 },
  async (io, context) => {
    need(context, "root", "/dev/fuse", "fio");
    const daemon = await mountHypegear({ args: ["--cache-size", "16M", "--io", io] });
    const seconds = io === "uring" ? SECONDS : Math.ceil(SECONDS / 2);
    const job = (name: string, rest: Omit<FioJob, "file" | "mib" | "seconds">): Promise<FioReport[]> =>
      fio({ ...rest, file: join(daemon.mountpoint, name), mib: 48, seconds });

    const kills = seconds - 1;
    const [, ...reports] = await Promise.all([
      killEngines(daemon, kills, () => 1000),
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

test("the CPU time of killed engines stays in the figures", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  let { cpu_us } = daemon.stats().engine;
  for (let kills = 1; kills <= 3; kills++) {
    writeFileSync(join(daemon.mountpoint, "image"), Buffer.alloc(32 * MiB, kills));
    const before = daemon.stats().engine.cpu_us;
    await daemon.kill("engine");
    const { engine } = daemon.stats();
    expect(engine.restarts).toBe(kills);
    expect(engine.cpu_us).toBeGreaterThan(before);
    expect(before).toBeGreaterThan(cpu_us);
    cpu_us = engine.cpu_us;
  }
});
