/** File timestamps. */
import * as libc from "./libc.ts";

const UTIME_OMIT = 0x3ffffffe;
const times = Buffer.alloc(32);

/** Sets the modification time of the open file `fd`, leaving its access time. 0 or a negated error number. */
export function setModificationTime(fd: number, seconds: number, nanoseconds: number): number {
  times.writeBigInt64LE(0n, 0);
  times.writeBigInt64LE(BigInt(UTIME_OMIT), 8);
  times.writeBigInt64LE(BigInt(seconds), 16);
  times.writeBigInt64LE(BigInt(nanoseconds), 24);
  return libc.futimens(fd, times);
}
