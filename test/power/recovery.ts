/** What a host does after a power cut: it boots anew, and recovers each backing directory before anybody looks into it. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { currentBootId } from "../../src/keeper/state.ts";
import { inventory } from "../guests/contents.ts";
import type { Random } from "../sim/random.ts";
import { type Daemon, HYPEGEAR, hypegear } from "../support/daemon.ts";
import { MARK } from "../support/marks.ts";
import { unmountLazily } from "../support/mounts.ts";
import { removeSlab } from "../support/slabs.ts";

/** Options of `mount`: a journal so small that it wraps under every workload. */
export const JOURNAL_ARGS = ["--journal-size", "16M"] as const;

/** How recovery goes: once; twice, and the second changes nothing; killed again and again before it is let to its end. */
export type Manner = "once" | "twice" | "interrupted";

const KILLS_MAX = 3;
/** How long a recovery takes here, the first included; killed at a moment within. */
let lastMs = 200;

/** Recovers `backing` after a cut; what went wrong. `random` chooses when it is killed. */
export async function recovered(backing: string, manner: Manner, random: Random): Promise<string[]> {
  if (!existsSync(backing)) return [];
  bootAnew(backing);
  if (manner === "interrupted")
    for (let i = random.between(1, KILLS_MAX); i > 0; i--) await interrupted(backing, random);
  const wrong = await recover(backing);
  if (manner !== "twice" || wrong.length > 0) return wrong;
  const before = await inventory(backing);
  bootAnew(backing);
  wrong.push(...(await recover(backing)));
  if ((await inventory(backing)) !== before) wrong.push("recovered twice, something is not as after the first time");
  return wrong;
}

/** The state is of an earlier boot, as after every power cut; here none took place. */
export function bootAnew(backing: string): void {
  const stateFile = join(backing, ".hypegear", "state.json");
  if (!existsSync(stateFile)) return;
  const text = readFileSync(stateFile, "utf8");
  writeFileSync(stateFile, text.replace(currentBootId(), "of-the-boot-before-the-cut"));
}

async function recover(backing: string): Promise<string[]> {
  const began = performance.now();
  const { code, stderr } = await hypegear(["recover", backing]);
  lastMs = performance.now() - began;
  return code === 0 ? [] : [`hypegear recover: exit code ${code}: ${stderr.trimEnd()}`];
}

/** A recovery that is killed, if it does not end before. */
async function interrupted(backing: string, random: Random): Promise<void> {
  const child = spawn(HYPEGEAR, ["recover", backing], { stdio: "ignore", env: { ...process.env, ...MARK } });
  const end = once(child, "exit");
  // The first third is the start of the program.
  await Promise.race([sleep(random.between(Math.floor(lastMs / 3), Math.ceil(lastMs))), end]);
  child.kill("SIGKILL");
  await end;
}

/** All that is in memory goes: the processes, the mount, the slab. The disk below is the caller's. */
export async function losePower(daemon: Daemon): Promise<void> {
  await daemon.kill("both");
  await unmountLazily(daemon.mountpoint);
  if (daemon.slab !== undefined) await removeSlab(daemon.slab);
}
