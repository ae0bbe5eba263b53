/** Locks of files by flock(2): a daemon has one for itself as long as it lives, who only looks has none. */
import { E } from "../base/errno.ts";
import * as libc from "./libc.ts";

const LOCK_SH = 1;
const LOCK_EX = 2;
const LOCK_NB = 4;
const LOCK_UN = 8;
/** Somebody who looks is in the way for an instant. */
const TRIES = 10;
const TRY_AGAIN_MS = 20;

const pause = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));

/** Takes the lock of `fd`: 0, -EWOULDBLOCK when another keeps it, or another negated error number. */
export function takeLock(fd: number): number {
  for (let tries = 1; ; tries++) {
    const result = libc.flock(fd, LOCK_EX | LOCK_NB);
    if (result !== -E.EWOULDBLOCK || tries === TRIES) return result;
    Atomics.wait(pause, 0, 0, TRY_AGAIN_MS);
  }
}

/** True if somebody has the lock of `fd`. */
export function isLocked(fd: number): boolean {
  const result = libc.flock(fd, LOCK_SH | LOCK_NB);
  if (result === 0) libc.flock(fd, LOCK_UN);
  return result === -E.EWOULDBLOCK;
}
