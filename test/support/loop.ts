/** Real filesystems of a chosen kind and size, in a file on a loop device. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { unmountLazily } from "./mounts.ts";
import { run, succeed } from "./run.ts";
import { type Scope, testScope } from "./scope.ts";
import { scratchDirectory } from "./scratch.ts";

export interface LoopFilesystem {
  /** Where it is mounted; use it as a backing directory. */
  directory: string;
  /** For example `/dev/loop3`. */
  device: string;
  /** The file under the device. */
  file: string;
}

/** The smallest that mkfs.xfs makes. */
const XFS_MIB_MIN = 300;

/** A new mounted filesystem of `sizeMiB` (sparse). Needs root, losetup and the mkfs of its kind (`need`). */
export async function loopFilesystem(
  kind: "ext4" | "xfs",
  sizeMiB: number,
  scope: Scope = testScope,
): Promise<LoopFilesystem> {
  if (kind === "xfs" && sizeMiB < XFS_MIB_MIN)
    throw new RangeError(`XFS needs ${XFS_MIB_MIN} MiB: asked for ${sizeMiB}`);
  const scratch = scratchDirectory(kind, scope);
  const file = join(scratch, "device");
  const directory = join(scratch, "mounted");
  mkdirSync(directory);
  writeFileSync(file, "");
  truncateSync(file, sizeMiB * 2 ** 20);
  await succeed(`mkfs.${kind}`, ["-q", file]);
  const device = (await succeed("losetup", ["--find", "--show", file])).trim();
  scope(() => run("losetup", ["--detach", device]));
  await succeed("mount", [device, directory]);
  scope(() => unmountLazily(directory));
  return { directory, device, file };
}
