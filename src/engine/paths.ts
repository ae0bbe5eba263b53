/** Images by path and paths of images, as people name them. Byte strings kept as latin1. */
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import { OWN_NAME } from "../fs/held.ts";
import type { Inodes } from "../fs/inodes.ts";
import { ROOT } from "../fs/records.ts";
import { S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { Stat } from "../sys/stat.ts";

/** As many symbolic links in one path as the kernel follows. */
const LINKS_MAX = 40;
const TARGET_BYTES_MAX = 4096;

/** The path below the mount of the image at `slot`; for one unlinked in use, the name that its record bears. */
export function pathOf(inodes: Inodes, slot: InodeSlot): string {
  const names: string[] = [];
  for (let at: number = slot; at > ROOT; at = inodes.records.parent(asSlot(at))) {
    names.unshift(inodes.records.name(asSlot(at)));
  }
  return inodes.isHeld(slot) ? `(unlinked) ${names.join("/")}` : names.join("/");
}

/** Where the image at `slot` lies below the backing directory. */
export function storedPathOf(inodes: Inodes, slot: InodeSlot): string {
  return inodes.isHeld(slot) ? `.hypegear/held/${inodes.records.name(slot)}` : pathOf(inodes, slot);
}

/**
 * The slot of the image at `path`, whichever of its names that is; undefined if it exists and no record of it does. Throws a
 * Failure if there is none.
 */
export function slotAt(inodes: Inodes, path: string): InodeSlot | undefined {
  const names = namesOf(path);
  if (names.length === 0 || names.includes("..")) {
    throw new Failure(`flush ${path}: not the path of an image; give it from the mount's root`, ExitCode.usage);
  }
  let found: InodeSlot | undefined;
  inodes.each((slot) => {
    if (!inodes.isHeld(slot) && pathOf(inodes, slot) === names.join("/")) found = slot;
  });
  if (found !== undefined && (inodes.records.mode(found) & S.IFMT) === S.IFREG) return found;
  const stat = new Stat();
  const result = resolve(inodes.directories.rootFd, names, stat);
  if (result === -E.EXDEV) {
    throw new Failure(`flush ${path}: leads out of the mount; give the image's path in it`, ExitCode.usage);
  }
  if (result < 0) {
    const todo = result === -E.ENOENT ? "give a path below the mount" : "see the backing directory";
    throw new Failure(`flush ${path}: ${errnoName(result)}; ${todo}`);
  }
  if (stat.type !== S.IFREG) throw new Failure(`flush ${path}: not a regular file; give an image`, ExitCode.usage);
  return inodes.find(stat);
}

const namesOf = (path: string): string[] => path.split("/").filter((name) => name !== "" && name !== ".");

/**
 * Fills `stat` with what `names` lead to from the directory `rootFd`, by way of symbolic links too. 0, or a negated error number;
 * EXDEV if that is outside. A link that is swapped in meanwhile does no harm: only a file that has a record is flushed.
 */
function resolve(rootFd: number, names: readonly string[], stat: Stat): number {
  const way: string[] = [];
  const ahead = [...names];
  let links = 0;
  for (let name = ahead.shift(); name !== undefined; name = ahead.shift()) {
    if (name === "..") {
      if (way.pop() === undefined) return -E.EXDEV;
      continue;
    }
    if (way.length === 0 && name === OWN_NAME) return -E.ENOENT; // in the mount it is another directory
    const at = libc.cstring([...way, name].join("/"));
    const result = stat.read(rootFd, at);
    if (result < 0) return result;
    if (stat.type !== S.IFLNK) {
      way.push(name);
      continue;
    }
    const target = Buffer.alloc(TARGET_BYTES_MAX);
    const length = ++links > LINKS_MAX ? -E.ELOOP : libc.readlinkat(rootFd, at, target, target.length);
    if (length < 0) return length;
    if (target[0] === 0x2f) return -E.EXDEV; // "/"
    ahead.unshift(...namesOf(target.toString("latin1", 0, length)));
  }
  return stat.read(rootFd, libc.cstring(way.length === 0 ? "." : way.join("/")));
}
