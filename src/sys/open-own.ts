/** Opens files of ours whose mode keeps even us out: made so while somebody had them open, or with such a mode from the start. */
import { E } from "../base/errno.ts";
import { AT_EMPTY_PATH, O, S } from "./constants.ts";
import * as libc from "./libc.ts";
import { Stat } from "./stat.ts";

const MODE_BITS = 0o7777;
const OWNER_READ_WRITE = 0o600;

/**
 * The regular file `path` in `dirfd`, opened with `flags`: its owner may read and write it until it is open, then its mode is as it
 * was. A kill in between leaves the wider mode, and no power over the file to anybody but its owner. EACCES if it is not ours, or
 * something else keeps us out.
 */
export function openOwn(dirfd: number, path: Buffer, flags: number): number {
  const fd = libc.openat(dirfd, path, O.PATH | O.CLOEXEC | (flags & O.NOFOLLOW), 0);
  if (fd < 0) return fd;
  const result = openAgain(fd, flags);
  libc.close(fd);
  return result;
}

function openAgain(fd: number, flags: number): number {
  const stat = new Stat();
  const known = stat.read(fd, libc.cstring(""), AT_EMPTY_PATH);
  if (known < 0) return known;
  const mode = stat.mode & MODE_BITS;
  if (stat.type !== S.IFREG || (mode & OWNER_READ_WRITE) === OWNER_READ_WRITE) return -E.EACCES;
  const path = libc.cstring(`/proc/self/fd/${fd}`);
  if (libc.fchmodat(-1, path, mode | OWNER_READ_WRITE, 0) < 0) return -E.EACCES;
  const result = libc.openat(-1, path, flags & ~O.NOFOLLOW, 0);
  libc.fchmodat(-1, path, mode, 0);
  return result;
}
