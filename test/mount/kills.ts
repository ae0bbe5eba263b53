/** The engine, killed again and again under load. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { StatsDocument } from "../../src/stats/document.ts";
import type { Daemon } from "../support/daemon.ts";
import { waitFor } from "../support/wait.ts";

/** Without blocking this process, as `Daemon.stats` does. */
export const statsOf = async ({ mountpoint }: Daemon): Promise<StatsDocument> =>
  JSON.parse(await readFile(join(mountpoint, ".hypegear", "stats.json"), "utf8")) as StatsDocument;

/** The process id of an engine that serves, and is not `dead`. One killed before it serves comes to nothing; five in a row end the mount. */
export const servingEngine = (daemon: Daemon, dead: number): Promise<number> =>
  waitFor("a new engine", async () => {
    const { pid } = (await statsOf(daemon)).engine;
    return pid !== dead && pid;
  });

/** Kills the engine `kills` times, each one `pauseMs` after it serves: on a slow machine too it gets something done. */
export async function killEngines(daemon: Daemon, kills: number, pauseMs: () => number): Promise<void> {
  let dead = 0;
  for (let i = 0; i < kills; i++) {
    dead = await servingEngine(daemon, dead);
    await sleep(pauseMs());
    await daemon.kill("engine");
  }
}
