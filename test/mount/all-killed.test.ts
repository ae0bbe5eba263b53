/** Keeper, engine and clients killed together, and mounted again: every write that was answered is there. */
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { unaccountedBlocks } from "../../src/stats/document.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { STAMPED_BYTES, startStamper } from "./clients.ts";
import { scaled } from "./scale.ts";
import { check } from "./stamps.ts";

/** How the dead mount is taken away before the next mount. */
const CLEANUPS: { by: string; clean: (daemon: Daemon) => Promise<void> }[] = [
  {
    by: "umount",
    clean: async (daemon) => {
      expect(await daemon.cli("umount")).toMatchObject({
        code: 3,
        stderr: expect.stringMatching(/carries on/) as string,
      });
    },
  },
  { by: "the mount itself", clean: async () => {} },
];

test.for(CLEANUPS)("the dead mount taken away by $by, every answered write is there", async ({ clean }, context) => {
  need(context, "root", "/dev/fuse");
  const scratch = scratchDirectory("log");
  const backing = scratchDirectory("backing");
  const names = ["a", "b"];
  const logOf = (name: string, round: number): string => join(scratch, `${name}${round}`);
  for (let round = 1; round <= scaled(3); round++) {
    for (const name of names) {
      writeFileSync(join(backing, name), "");
      truncateSync(join(backing, name), STAMPED_BYTES);
    }
    const daemon = await mountHypegear({ backing, args: ["--cache-size", "16M"] });
    const kills = await Promise.all(
      names.map((name, i) => startStamper(join(daemon.mountpoint, name), logOf(name, round), round * 2 + i)),
    );
    await sleep(500 + round * 300);

    await daemon.kill("both");
    await Promise.all(kills.map((kill) => kill()));
    await clean(daemon);
    const again = await mountHypegear({ backing, mountpoint: daemon.mountpoint, args: ["--cache-size", "16M"] });

    expect(unaccountedBlocks(again.stats())).toBe(0);
    expect(again.stats().engine.restarts).toBe(1);
    const shown = names.map((name) => readFileSync(join(again.mountpoint, name)));
    for (const [i, name] of names.entries()) {
      const findings = check(shown[i]!, readFileSync(logOf(name, round), "utf8"));
      expect(findings.wrong.slice(0, 5)).toEqual([]);
      expect(findings.promised).toBeGreaterThan(10);
    }
    expect(await again.umount()).toMatchObject({ code: 0 });
    for (const [i, name] of names.entries()) expect(readFileSync(join(backing, name)).equals(shown[i]!)).toBe(true);
  }
});

test("the engine's successors also find every answered write when a keeper dies first and its engine later", async (context) => {
  need(context, "root", "/dev/fuse");
  const log = join(scratchDirectory("log"), "log");
  const daemon = await mountHypegear({ args: ["--cache-size", "16M"] });
  writeFileSync(join(daemon.backing, "a"), "");
  truncateSync(join(daemon.backing, "a"), STAMPED_BYTES);
  const killClient = await startStamper(join(daemon.mountpoint, "a"), log, 99);
  await daemon.kill("keeper");
  await sleep(700);

  expect(daemon.stats().writes.requests).toBeGreaterThan(0);
  await daemon.kill("both");
  await killClient();
  const { backing, mountpoint } = daemon;
  const again = await mountHypegear({ backing, mountpoint, args: ["--cache-size", "16M"] });

  const { wrong } = check(readFileSync(join(again.mountpoint, "a")), readFileSync(log, "utf8"));
  expect(wrong.slice(0, 5)).toEqual([]);
  expect(await again.umount()).toMatchObject({ code: 0 });
});
