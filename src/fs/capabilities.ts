/**
 * File capabilities (`security.capability`). A change of content takes them away. The kernel does so when the backing file is written,
 * but that is late: until then they would be shown, and obeyed, for a program that somebody has changed. And they must not be given
 * to a file before its data is home, or writing that would take them away again.
 */
import { E } from "../base/errno.ts";
import { INODES_MAX } from "../base/limits.ts";
import type { InodeSlot } from "../base/units.ts";
import * as libc from "../sys/libc.ts";
import { removeXattr } from "../sys/xattr.ts";
import type { Inodes } from "./inodes.ts";

export const CAPABILITY = "security.capability";
const KEY = libc.cstring(CAPABILITY);

export class Capabilities {
  private readonly inodes: Inodes;
  /** By slot: one more than the generation of the record that is known to have none, so that each write need not ask. */
  private readonly without = new Uint32Array(INODES_MAX);

  constructor(inodes: Inodes) {
    this.inodes = inodes;
  }

  /** The content of `slot` is about to change. True if it had some. What cannot be removed goes with the home write. */
  drop(slot: InodeSlot): boolean {
    const { records, directories } = this.inodes;
    const mark = (records.generation(slot) + 1) >>> 0;
    if (this.without[slot] === mark) return false;
    const dirfd = directories.place(slot);
    const result = dirfd < 0 ? dirfd : removeXattr(dirfd, directories.name, KEY);
    if (result === 0 || result === -E.ENODATA || result === -E.EOPNOTSUPP) this.without[slot] = mark;
    return result === 0;
  }

  /** `slot` is about to be given some. */
  giving(slot: InodeSlot): void {
    this.without[slot] = 0;
  }
}
