/** What this run made and did not take away: a leak is a failure of the run. */
import { existsSync, rmSync } from "node:fs";
import { MARK, RUN_ROOT } from "./marks.ts";
import { loopDevices, mounts, unmountLazily } from "./mounts.ts";
import { hasCommand } from "./need.ts";
import { isAlive, kill, processes } from "./processes.ts";
import { run } from "./run.ts";
import { removeSlab, slabsLeft } from "./slabs.ts";
import { waitFor } from "./wait.ts";

/** Finds the leaks of this run, one line each, and removes them. */
export async function takeLeaks(): Promise<string[]> {
  const leaks = [...(await takeProcesses()), ...(await takeMounts()), ...(await takeLoops()), ...(await takeSlabs())];
  if (existsSync(RUN_ROOT)) rmSync(RUN_ROOT, { recursive: true, force: true });
  return leaks;
}

async function takeProcesses(): Promise<string[]> {
  const mark = `HYPEGEAR_TEST_CHILD=${MARK.HYPEGEAR_TEST_CHILD}`;
  const leaked = processes().filter(({ pid, environment }) => pid !== process.pid && environment.includes(mark));
  for (const { pid } of leaked) kill(pid);
  await waitFor("leaked processes to end", () => leaked.every(({ pid }) => !isAlive(pid)));
  return leaked.map(({ pid, command }) => `process ${pid}: ${command}`);
}

async function takeMounts(): Promise<string[]> {
  const leaked = mounts().filter(({ mountpoint }) => mountpoint.startsWith(`${RUN_ROOT}/`));
  for (const { mountpoint } of leaked.toReversed()) await unmountLazily(mountpoint);
  return leaked.map(({ mountpoint, type }) => `mount of ${type} on ${mountpoint}`);
}

async function takeLoops(): Promise<string[]> {
  const leaked = hasCommand("losetup") ? await loopDevices(RUN_ROOT) : [];
  for (const device of leaked) await run("losetup", ["--detach", device]);
  return leaked.map((device) => `loop device ${device}`);
}

async function takeSlabs(): Promise<string[]> {
  const leaked = slabsLeft();
  for (const directory of leaked) await removeSlab(directory);
  return leaked.map((directory) => `slab ${directory}`);
}
