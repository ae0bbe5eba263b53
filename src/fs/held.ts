/** `.hypegear/held/` in the backing directory: files that were unlinked while somebody used them, named by inode slot. */
import { E, errnoName } from "../base/errno.ts";
import { Failure } from "../base/errors.ts";
import type { InodeSlot } from "../base/units.ts";
import { O } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { nextEntry, readEntries } from "./entries.ts";

/** The name in the root that is the program's own: beneath the mount its state, in the mount the control directory. */
export const OWN_NAME = ".hypegear";

export class Held {
  readonly fd: number;

  constructor(rootFd: number) {
    const own = openOrMake(rootFd, OWN_NAME);
    this.fd = openOrMake(own, "held");
    libc.close(own);
  }

  /** A descriptor for fsync(2). */
  openForFlush(): number {
    const fd = libc.openat(this.fd, libc.cstring("."), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0);
    if (fd < 0) throw new Failure(`backing directory: ${OWN_NAME}/held cannot be opened: ${errnoName(fd)}`);
    return fd;
  }

  nameOf(slot: InodeSlot): string {
    return String(slot);
  }

  /** Removes a held file. It may be gone: an engine can be killed between this and the end of its record. */
  remove(name: string): void {
    libc.unlinkat(this.fd, libc.cstring(name), 0);
  }

  /** Removes every file that `needed` does not claim. */
  sweep(needed: (name: string) => boolean): void {
    const fd = this.openForFlush();
    const buffer = Buffer.alloc(32768);
    const leftovers: string[] = [];
    for (let got = readEntries(fd, buffer); got > 0; got = readEntries(fd, buffer)) {
      for (let entry = nextEntry(buffer, 0, got); entry !== undefined; entry = nextEntry(buffer, entry.next, got)) {
        if (entry.name !== "." && entry.name !== ".." && !needed(entry.name)) leftovers.push(entry.name);
      }
    }
    libc.close(fd);
    for (const name of leftovers) this.remove(name);
  }

  close(): void {
    libc.close(this.fd);
  }
}

function openOrMake(parent: number, name: string): number {
  const path = libc.cstring(name);
  const flags = O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
  let fd = libc.openat(parent, path, flags, 0);
  if (fd === -E.ENOENT && libc.mkdirat(parent, path, 0o700) === 0) fd = libc.openat(parent, path, flags, 0);
  if (fd < 0) {
    throw new Failure(
      `backing directory: cannot use its ${OWN_NAME}/: ${name}: ${errnoName(fd)}; it must be a directory that this program may write`,
    );
  }
  return fd;
}
