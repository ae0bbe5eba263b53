/** Verified load: ten times the cache, by every way that a client can write, through both kinds of I/O. */
import { statSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { unaccountedBlocks } from "../../src/stats/document.ts";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { digests, type FioJob, fio } from "./fio.ts";
import { scaled } from "./scale.ts";

const WAYS: (Pick<FioJob, "engine" | "direct"> & { cacheMib: number })[] = [
  { engine: "libaio", direct: true, cacheMib: 16 },
  { engine: "io_uring", direct: true, cacheMib: 16 },
  { engine: "psync", direct: false, cacheMib: 16 },
  { engine: "mmap", direct: false, cacheMib: 8 }, // a page fault for each 4 KiB: slow
];

describe.for(["uring", "threads"])("with --io %s, verified writes of ten times the cache", (io) => {
  test.for(WAYS)(
    "by $engine, direct $direct, are right, and home equals the mount",
    async ({ cacheMib, ...way }, context) => {
      need(context, "root", "/dev/fuse", "fio");
      const daemon = await mountHypegear({ args: ["--cache-size", `${cacheMib}M`, "--io", io] });
      const mib = scaled(cacheMib * 11);

      await fio({ ...way, file: join(daemon.mountpoint, "image"), mib });

      const stats = daemon.stats();
      expect(stats.io).toBe(io);
      expect(stats.writeback).toMatchObject({ errors: 0 });
      expect(stats.writeback.blocks * 4096).toBeGreaterThan((mib * 2 ** 20) / 2);
      const shown = await digests(daemon.mountpoint, ["image"]);
      const { size } = statSync(join(daemon.mountpoint, "image"));
      expect(await daemon.umount()).toMatchObject({ code: 0 });
      expect(await digests(daemon.backing, ["image"])).toEqual(shown);
      expect(statSync(join(daemon.backing, "image")).size).toBe(size);
    },
  );
});

test.for(["on", "off"])(
  "all ways at once, --cache %s: right, and every block is accounted for",
  async (cache, context) => {
    need(context, "root", "/dev/fuse", "fio");
    const daemon = await mountHypegear({ args: ["--cache-size", "16M", "--cache", cache] });
    const names = WAYS.map(({ engine }) => engine);

    await Promise.all(
      WAYS.map(({ engine, direct }) => {
        const fsync = engine === "mmap" ? {} : { fsync: 50 };
        return fio({ engine, direct, file: join(daemon.mountpoint, engine), mib: scaled(32), ...fsync });
      }),
    );

    const shown = await digests(daemon.mountpoint, names);
    expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
    const stats = daemon.stats();
    expect(stats.dirty.blocks).toBe(0);
    expect(unaccountedBlocks(stats)).toBe(0);
    expect(await digests(daemon.backing, names)).toEqual(shown);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(await digests(daemon.backing, names)).toEqual(shown);
  },
);
