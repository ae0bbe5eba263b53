/** File timestamps. */
import * as libc from "./libc.ts";

const UTIME_OMIT = 0x3ffffffe;
const times = Buffer.alloc(32);

/** The largest number of seconds that is both a double and a 64-bit integer: as far from now as its negation. */
const SECONDS_MAX = 2 ** 63 - 1024;

/**
 * Sets the modification time of the open file `fd`, leaving its access time. 0 or a negated error number. Any number of seconds will
 * do: a time that the filesystem does not have becomes its first or its last.
 */
export function setModificationTime(fd: number, seconds: number, nanoseconds: number): number {
  times.writeBigInt64LE(0n, 0);
  times.writeBigInt64LE(BigInt(UTIME_OMIT), 8);
  times.writeBigInt64LE(BigInt(Math.min(Math.max(seconds, -SECONDS_MAX), SECONDS_MAX)), 16);
  times.writeBigInt64LE(BigInt(nanoseconds), 24);
  return libc.futimens(fd, times);
}
