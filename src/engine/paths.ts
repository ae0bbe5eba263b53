/** Images by path and paths of images, as people name them. Byte strings kept as latin1. */
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import type { Inodes } from "../fs/inodes.ts";
import { ROOT } from "../fs/records.ts";
import { AT_SYMLINK_NOFOLLOW } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";

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

/** The slot of the image at `path`; undefined if it exists and no record of it does. Throws a Failure if there is none. */
export function slotAt(inodes: Inodes, path: string): InodeSlot | undefined {
  const names = path.split("/").filter((name) => name !== "" && name !== ".");
  if (names.length === 0 || names.includes("..")) {
    throw new Failure(`flush ${path}: not the path of an image; give it from the mount's root`, ExitCode.usage);
  }
  let found: InodeSlot | undefined;
  inodes.each((slot) => {
    if (!inodes.isHeld(slot) && pathOf(inodes, slot) === names.join("/")) found = slot;
  });
  if (found !== undefined) return found;
  const result = libc.faccessat(inodes.directories.rootFd, libc.cstring(names.join("/")), 0, AT_SYMLINK_NOFOLLOW);
  if (result === 0) return undefined;
  const todo = result === -E.ENOENT ? "give a path below the mount" : "see the backing directory";
  throw new Failure(`flush ${path}: ${errnoName(result)}; ${todo}`);
}
