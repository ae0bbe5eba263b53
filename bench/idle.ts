/** What a mount costs that nobody uses: CPU of keeper and engine over some idle seconds. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Options } from "./options.ts";
import { mountHypegear } from "./servers/hypegear.ts";
import type { Cleanup } from "./support/cleanup.ts";
import { cpuUsBetween, processTree, readCpu } from "./support/cpu.ts";
import { sleep } from "./support/process.ts";

/** What a short use leaves to be done is done by then. */
const SETTLE_MS = 3000;
const USED_BYTES = 2 ** 20;

export interface IdleResult {
  seconds: number;
  /** The keeper first. Ticks are hundredths of a second. */
  processes: { pid: number; ticks: number; cpuUs: number }[];
}

/** Mounts, uses the mount a little, lets it settle, and counts. */
export async function measureIdle(options: Options, scratch: string, cleanup: Cleanup): Promise<IdleResult> {
  const directory = join(scratch, "idle");
  const [backing, mountpoint] = [join(directory, "backing"), join(directory, "mount")];
  for (const path of [directory, backing, mountpoint]) mkdirSync(path);
  const server = await mountHypegear({ ...options, directory, cleanup }, backing, mountpoint);
  writeFileSync(join(mountpoint, "image"), Buffer.alloc(USED_BYTES, 1));
  readFileSync(join(mountpoint, "image"));
  await sleep(SETTLE_MS);
  const pids = processTree(server.pid);
  const before = pids.map((pid) => readCpu([pid]));
  await sleep(options.idleSeconds * 1000);
  const processes = pids.map((pid, index) => {
    const after = readCpu([pid]);
    return { pid, ticks: after.ticks - before[index]!.ticks, cpuUs: cpuUsBetween(before[index]!, after) };
  });
  return { seconds: options.idleSeconds, processes };
}

export function idleReport({ seconds, processes }: IdleResult): string {
  const lines = processes.map(
    ({ pid, ticks, cpuUs }, index) =>
      `  ${index === 0 ? "keeper" : "engine"} (process ${pid}): ${ticks} ticks, ${Math.round(cpuUs)} us\n`,
  );
  return `CPU of an idle mount in ${seconds} s\n${lines.join("")}  issue 2 (Idle cost) asks for none that can be measured\n`;
}
