/** Fault 25: the engine has no descriptors left. Who asks for a file more gets EMFILE; all others are served, and nothing is lost. */
import { readFileSync, writeFileSync } from "node:fs";
import { open, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { statsOf } from "./kills.ts";

const IMAGES = 60;
/** An engine that has no image open uses some thirty. */
const FEW = 48;
const PLENTY = 1024;

const names = Array.from({ length: IMAGES }, (_, i) => `image${i}`);

/** Only the soft limit: a higher hard one takes a capability that a host may withhold. */
const limit = async (daemon: Daemon, files: number): Promise<unknown> =>
  succeed("prlimit", ["--pid", String(await daemon.enginePid()), `--nofile=${files}:`]);

test("without descriptors, files that are not open are refused, and those that are go on", async (context) => {
  need(context, "/dev/fuse", "prlimit");
  const backing = scratchDirectory("backing");
  for (const name of names) writeFileSync(join(backing, name), "before");
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "16M"] });
  const first = await open(join(daemon.mountpoint, names[0]!), "r+");
  await first.write("after!", 0);

  await limit(daemon, FEW);
  const refused: string[] = [];
  for (const name of names)
    await writeFile(join(daemon.mountpoint, name), "after!", { flag: "r+" }).catch((error: NodeJS.ErrnoException) => {
      expect(error.code).toBe("EMFILE");
      refused.push(name);
    });
  expect(refused.length).toBeGreaterThan(10);
  expect(refused).not.toContain(names[0]);
  await first.write("again!", 0);
  await first.datasync();
  expect((await statsOf(daemon)).engine.restarts).toBe(0);

  await limit(daemon, PLENTY);
  for (const name of refused) await writeFile(join(daemon.mountpoint, name), "after!", { flag: "r+" });
  await first.close();
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(daemon.log).not.toMatch(/hit a bug/);
  const shown = names.map((name) => readFileSync(join(backing, name), "utf8"));
  expect(shown).toEqual(names.map((_, i) => (i === 0 ? "again!" : "after!")));
});
