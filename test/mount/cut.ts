/** A power cut that is played. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { readState } from "../keeper/stubbed.ts";
import type { Daemon } from "../support/daemon.ts";
import { unmountLazily } from "../support/mounts.ts";
import { removeSlab } from "../support/slabs.ts";

/** Ends a daemon as a power cut would, as far as the page cache lets one: only the filesystem's files are left. */
export async function cutPower(daemon: Daemon): Promise<void> {
  await daemon.kill("both");
  await unmountLazily(daemon.mountpoint);
  await removeSlab(daemon.slab!);
  const state = readState(daemon.backing);
  writeFileSync(join(daemon.backing, ".hypegear/state.json"), JSON.stringify({ ...state, bootId: "before" }));
}
