/** hypegear as its users run it, in the foreground, with a cache larger than the image. */
import { mkdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import type { StatsDocument } from "../../src/stats/document.ts";
import { detach, isMounted } from "../support/mounts.ts";
import { killServer, type ServerProcess, startServer, stopServer, untilReady } from "../support/process.ts";
import { HYPEGEAR } from "../support/project.ts";
import { writeImage } from "../support/scratch.ts";
import type { Server, Stage } from "./server.ts";

/** Below the bench's scratch directory nothing is worth keeping: a killed mount's slab, which its user would get back, goes. */
export function discardSlab(backing: string): void {
  let slab: string;
  try {
    slab = (JSON.parse(readFileSync(join(backing, ".hypegear/state.json"), "utf8")) as { slab: string }).slab;
  } catch {
    return; // a clean end leaves no state
  }
  const folder = dirname(slab);
  if (!basename(folder).startsWith("hypegear-")) return;
  detach(folder);
  rmSync(folder, { recursive: true, force: true });
}

/** Mounts `backing` on `mountpoint` with further options and leaves unmounting to `stage.cleanup`. */
export async function mountHypegear(
  stage: Stage,
  backing: string,
  mountpoint: string,
  args: readonly string[] = [],
): Promise<ServerProcess> {
  const size = `${stage.cacheBytes / 2 ** 20}M`;
  const command = [HYPEGEAR, "mount", backing, mountpoint, "--foreground", "--cache-size", size, ...args];
  const server = startServer(command, stage.pin, join(stage.directory, "log"));
  stage.cleanup.add(() => discardSlab(backing));
  stage.cleanup.add(() => detach(mountpoint));
  stage.cleanup.add(() => stopServer(server));
  // It is mounted before it serves, and a look at a mount that does not serve would hang this process.
  await untilReady(server, () => isMounted(mountpoint) && /^ready/m.test(readFileSync(server.log, "utf8")));
  return server;
}

/** Kills keeper and engine and takes their mount away; slab and state stay. */
export async function killHypegear(server: ServerProcess, mountpoint: string): Promise<void> {
  await killServer(server);
  detach(mountpoint);
}

/** Ends a mount of the bench without taking anything home. */
export async function abandonHypegear(server: ServerProcess, backing: string, mountpoint: string): Promise<void> {
  await killHypegear(server, mountpoint);
  discardSlab(backing);
}

export const statsOf = (mountpoint: string): StatsDocument =>
  JSON.parse(readFileSync(join(mountpoint, ".hypegear/stats.json"), "utf8")) as StatsDocument;

/** Whether the run was what it claims: all through the cache, nothing drained meanwhile, one engine. */
function remark(mountpoint: string): string {
  const stats = statsOf(mountpoint);
  const { reads, writeback, engine } = stats;
  return (
    `transport ${stats.transport}, io ${stats.io}; reads hit ${reads.hit_blocks} blocks and missed ${reads.miss_blocks}; ` +
    `${writeback.blocks} blocks went home during the run; ${engine.restarts} engine restarts`
  );
}

export const hypegear: Server = {
  name: "hypegear",
  about: "through the whole cache, which is four times as large as the file",
  start: async (stage) => {
    const backing = join(stage.directory, "backing");
    const mountpoint = join(stage.directory, "mount");
    mkdirSync(backing);
    mkdirSync(mountpoint);
    writeImage(join(backing, "image"), stage.imageBytes);
    const server = await mountHypegear(stage, backing, mountpoint);
    const file = join(mountpoint, "image");
    if (statSync(file).size !== stage.imageBytes) throw new Error(`hypegear: ${file} has the wrong size`);
    return { file, pid: server.pid, remark: () => remark(mountpoint) };
  },
};
