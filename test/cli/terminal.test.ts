/** What people see on a terminal while something takes long. */
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bootAnew, losePower } from "../power/recovery.ts";
import { HYPEGEAR, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { run } from "../support/run.ts";
import { waitFor } from "../support/wait.ts";

const BYTES = 24 * 2 ** 20;

test("recover draws a bar on a terminal, and takes it away again", async (context) => {
  need(context, "root", "/dev/fuse", "script");
  const daemon = await mountHypegear({ args: ["--durability", "ordered", "--loss-window", "100ms", "--max-age", "0"] });
  writeFileSync(join(daemon.mountpoint, "image"), Buffer.alloc(BYTES, 0x5a));
  await waitFor("a commit of all", () => daemon.stats().journal.uncommitted_blocks === 0);
  await losePower(daemon);
  bootAnew(daemon.backing);
  const { code, stdout } = await run("script", ["-qec", `${HYPEGEAR} recover ${daemon.backing}`, "/dev/null"]);
  expect({ code, stdout }).toMatchObject({ code: 0 });
  const bars = [...stdout.matchAll(/recovering \[(#*)\.*\] (\d+)%/g)].map(([, cells, percent]) => ({
    cells: cells!.length,
    percent: Number(percent),
  }));
  expect(bars.length).toBeGreaterThan(10);
  expect(bars.at(-1)).toEqual({ cells: 30, percent: 100 });
  for (const { cells, percent } of bars) expect(Math.abs(cells / 30 - percent / 100)).toBeLessThan(0.04);
  expect(stdout.split("\r\u001b[K").at(-1)).toMatch(/: recovered: /);
  expect(readFileSync(join(daemon.backing, "image")).equals(Buffer.alloc(BYTES, 0x5a))).toBe(true);
});
