/** The shared memory of daemons that tests started: known from the engine's descriptor, so that none outlives the run unseen. */
import { appendFileSync, existsSync, readFileSync, readlinkSync, rmSync } from "node:fs";
import { dirname } from "node:path";
import { EngineFd } from "../../src/engine/config.ts";
import { SLABS_FILE } from "./marks.ts";
import { unmountLazily } from "./mounts.ts";

/** The directory of an engine's slab, noted for the check at the end of the run; undefined when it has none. */
export function noteSlab(enginePid: number): string | undefined {
  const directory = dirname(readlinkSync(`/proc/${enginePid}/fd/${EngineFd.slab}`));
  if (!directory.startsWith("/dev/shm/hypegear-")) return undefined;
  appendFileSync(SLABS_FILE, `${directory}\n`);
  return directory;
}

/** Slab directories of this run that are still there. */
export function slabsLeft(): string[] {
  if (!existsSync(SLABS_FILE)) return [];
  return [...new Set(readFileSync(SLABS_FILE, "utf8").trimEnd().split("\n"))].filter((path) => existsSync(path));
}

export async function removeSlab(directory: string): Promise<void> {
  await unmountLazily(directory);
  rmSync(directory, { recursive: true, force: true });
}
