/** The check's place: one directory beside the user's images, on their filesystem, and its undoing. */
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  realpathSync,
  rmSync,
  statfsSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join, resolve } from "node:path";
import { ExitCode, Failure } from "../../base/errors.ts";
import { JOURNAL_BYTES_MIN } from "../../base/limits.ts";
import { formatSize } from "../../base/size.ts";
import { BLOCK_BYTES } from "../../base/units.ts";
import { isOurs, unmountFuse } from "../../fuse/mount.ts";
import { directoryId, isWithin, openBacking } from "../../keeper/directories.ts";
import { removeSlabFile, slabPath } from "../../keeper/slab-file.ts";
import { mountTable, topMount } from "../../sys/mount-table.ts";
import { recoverCopies } from "./recovered.ts";

export const IMAGES = ["flushed.img", "unflushed.img"] as const;
export const IMAGE_BLOCKS = 4096;
const IMAGE_BYTES = IMAGE_BLOCKS * BLOCK_BYTES;
/** Images, their copies, logs, a journal, and as much again, so that the user's own images do not feel it. */
const ROOM_BYTES = 2 * (2 * IMAGES.length * IMAGE_BYTES + 32 * 2 ** 20 + JOURNAL_BYTES_MIN);

export class VerifyScratch {
  readonly root: string;
  readonly backing: string;
  readonly mountpoint: string;
  /** The directory of the slab that its mounts have. */
  private readonly slab: string;

  /** Throws a refusal when there is no room, and leaves nothing then. */
  constructor(images: string) {
    const beside = usable(images);
    this.root = make(beside);
    this.backing = join(this.root, "images");
    this.mountpoint = join(this.root, "mount");
    mkdirSync(this.backing);
    mkdirSync(this.mountpoint);
    for (const name of IMAGES) {
      writeFileSync(join(this.backing, name), "");
      truncateSync(join(this.backing, name), IMAGE_BYTES);
    }
    const fd = openBacking(this.backing);
    this.slab = slabPath(directoryId(fd));
    closeSync(fd);
  }

  logOf(image: number, run: number): string {
    return join(this.root, `log-${image}-${run}`);
  }

  /** What a power cut would leave of the images now, with the processes of the mount dead: the directory of copies. */
  afterPowerCut(): string {
    const into = join(this.root, "recovered");
    recoverCopies(this.backing, IMAGES, into);
    return into;
  }

  /** Removes everything, with the processes of its mount dead. What the slab still holds is the check's own. */
  remove(): void {
    while (isOurs(topMount(this.mountpoint)) && unmountFuse(this.mountpoint, true) === 0);
    removeSlabFile(this.slab);
    rmSync(this.root, { recursive: true, force: true });
  }
}

function usable(images: string): string {
  const beside = realOr(images);
  if (isOurs(topMount(beside))) {
    throw new Failure(
      `${images}: a hypegear mount; verify works past the cache: unmount it, or give another directory of that filesystem`,
      ExitCode.refused,
    );
  }
  const around = mountTable().find((entry) => isOurs(entry) && isWithin(beside, entry.source));
  if (around !== undefined) {
    throw new Failure(
      `${images}: mounted by hypegear at ${around.path}; unmount that, or give another directory of that filesystem`,
      ExitCode.refused,
    );
  }
  closeSync(openBacking(beside));
  const { bavail, bsize } = statfsSync(beside);
  if (bavail * bsize < ROOM_BYTES) {
    throw new Failure(
      `${images}: ${formatSize(bavail * bsize)} are free, verify needs ${formatSize(ROOM_BYTES)}; free some, or give another directory`,
      ExitCode.refused,
    );
  }
  return beside;
}

function realOr(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return resolve(path); // the next step says what is wrong with it
  }
}

function make(beside: string): string {
  try {
    return mkdtempSync(join(beside, ".hypegear-verify-"));
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    const forbidden = code === "EACCES" || code === "EPERM";
    throw new Failure(
      `${beside}: no directory can be made in it (${code}); give one that you may write`,
      forbidden ? ExitCode.forbidden : ExitCode.failed,
      error,
    );
  }
}
