/** A truncate that is half done when the engine is killed: at home, but not yet in the cache. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, onTestFinished, test } from "vitest";
import { mountHypegear } from "../support/daemon.ts";
import { MARK } from "../support/marks.ts";
import { need } from "../support/need.ts";
import { isAlive, kill } from "../support/processes.ts";
import { succeed } from "../support/run.ts";
import { waitFor } from "../support/wait.ts";

const SIZE = 2 ** 20;
const CUT = 18_522;
/** How long each ftruncate(2) of the engine takes to return after it was done. */
const DELAY_US = 5_000_000;

test("what a truncate cut off does not come back when the engine is killed in the middle of it", async (context) => {
  need(context, "root", "/dev/fuse", "strace", "truncate");
  // Threads make system calls of their own, which can be delayed.
  const daemon = await mountHypegear({ args: ["--io", "threads", "--durability", "volatile"] });
  const { backing, mountpoint } = daemon;
  const image = join(mountpoint, "image");
  writeFileSync(image, "");
  truncateSync(image, SIZE); // the size is home, and so not in the slab
  const file = await open(image, "r+");
  await file.write(Buffer.alloc(SIZE, 7), 0, SIZE, 0);
  await file.close();
  const engine = await daemon.enginePid();
  await delayed(engine);

  const cut = succeed("truncate", ["-s", String(CUT), image]);
  await waitFor("the cut at home", () => statSync(join(backing, "image")).size === CUT);
  kill(engine);
  await cut;

  await succeed("truncate", ["-s", String(SIZE), image]);
  const wanted = Buffer.concat([Buffer.alloc(CUT, 7), Buffer.alloc(SIZE - CUT)]);
  expect(readFileSync(image).equals(wanted)).toBe(true);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(join(backing, "image")).equals(wanted)).toBe(true);
});

/** Makes every ftruncate(2) of process `pid` return late. */
async function delayed(pid: number): Promise<void> {
  const inject = ["-e", "trace=ftruncate", "-e", `inject=ftruncate:delay_exit=${DELAY_US}`];
  const strace = spawn("strace", ["-f", "-p", String(pid), ...inject], {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...MARK },
  });
  onTestFinished(async () => {
    kill(strace.pid!);
    await waitFor("the end of strace", () => !isAlive(strace.pid!));
  });
  await once(strace.stderr, "data"); // "Process ... attached"
}
