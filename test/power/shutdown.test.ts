/**
 * Cut under load (faults 19, 20, 23): the filesystem below hypegear shuts down, as on a dead disk, while a workload runs. Flushes
 * fail from then on, nothing hangs, the end is told; and after the cut all that was flushed is there.
 *
 * On ext4 every promise counts; on XFS those given before the shutdown began: an fsync that is under way meanwhile may return 0 there, and its
 * size, name or hole be gone (3 of 40 rounds of the same workload on plain XFS, without hypegear, on Linux 6.18).
 *
 *   HYPEGEAR_POWER_ROUNDS=20 npm test -- test/power/shutdown     more rounds
 */
import { mkdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { Random } from "../sim/random.ts";
import { mountHypegear } from "../support/daemon.ts";
import { type LoopFilesystem, loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { Notes } from "./notes.ts";
import { findWrong } from "./oracle.ts";
import { MOUNT_ARGS, startWorkload } from "./recording.ts";
import { losePower, recovered } from "./recovery.ts";

const ROUNDS = Number(process.env["HYPEGEAR_POWER_ROUNDS"] ?? "3");
const SIZE_MIB = 320;
/** More than any round has time for. */
const STEPS = 1e6;
/** A safety net: what takes so long hangs. */
const END_MS_MAX = 60_000;

test.for(["ext4", "xfs"] as const)(
  "%s shut down under load: fsync fails, nothing hangs, and all that was flushed is there",
  {
    timeout: ROUNDS * 2 * END_MS_MAX,
  },
  async (kind, context) => {
    need(context, "root", "/dev/fuse", "losetup", "xfs_io", "mkfs.ext4", "mkfs.xfs");
    for (let round = 1; round <= ROUNDS; round++) {
      const filesystem = await loopFilesystem(kind, SIZE_MIB);
      const backing = join(filesystem.directory, "images");
      mkdirSync(backing);
      const notes = join(scratchDirectory("notes"), "notes");
      const daemon = await mountHypegear({ backing, args: MOUNT_ARGS });
      const workload = await startWorkload("workload", daemon.mountpoint, "-", notes, round, STEPS);
      await sleep(200 + ((round * 397) % 1500));

      const sure = kind === "xfs" ? statSync(notes).size : undefined;
      await succeed("xfs_io", ["-x", "-c", "shutdown", filesystem.directory]);
      const errors = await inTime("the workload", workload.ended);
      expect(errors, daemon.log).toMatch(/^direct: .*: EIO$/m);
      expect(errors, daemon.log).toMatch(/^flusher: (fsync|fdatasync): EIO$/m);
      const refused = await inTime("hypegear umount", daemon.umount());
      expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/EIO/) as string });

      await losePower(daemon);
      await comeUp(filesystem);
      expect(await recovered(backing, "once", new Random(round))).toEqual([]);
      const told = Notes.read(notes, sure);
      expect(findWrong(told, backing, 0)).toEqual([]);
      expect(told.promises).toBeGreaterThan(10);
    }
  },
);

/** The filesystem comes up again. */
async function comeUp({ device, directory }: LoopFilesystem): Promise<void> {
  await succeed("umount", [directory]);
  await succeed("mount", [device, directory]);
}

function inTime<T>(what: string, end: Promise<T>): Promise<T> {
  const late = sleep(END_MS_MAX, undefined, { ref: false }).then(() => {
    throw new Error(`${what} still runs ${END_MS_MAX} ms after the shutdown`);
  });
  return Promise.race([end, late]);
}
