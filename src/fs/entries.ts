/**
 * Directory entries as getdents64(2) gives them: u64 inode number 0, i64 cookie of the next 8, u16 length 16, u8 type 18,
 * NUL-terminated name 19.
 */
import * as libc from "../sys/libc.ts";

const SYS_GETDENTS64 = process.arch === "arm64" ? 61 : 217;
const NAME_AT = 19;

/** Reads entries of directory `fd` from its position on. Bytes, 0 at the end, or a negated error number. */
export const readEntries = (fd: number, buffer: Buffer): number =>
  libc.syscallWithBuffer(SYS_GETDENTS64, fd, buffer, buffer.length);

export interface Entry {
  inoLow: number;
  inoHigh: number;
  /** The cookie of the entry after this: opaque, all 64 bits may be used. */
  cookieLow: number;
  cookieHigh: number;
  type: number;
  /** One character a byte. */
  name: string;
  /** Index of the name's first byte; it ends with NUL. */
  nameAt: number;
  /** Index of the entry after this. */
  next: number;
}

/** The entry at byte `at` of `length` bytes in `buffer`; undefined behind the last. */
export function nextEntry(buffer: Buffer, at: number, length: number): Entry | undefined {
  if (at >= length) return undefined;
  const nameAt = at + NAME_AT;
  return {
    inoLow: buffer.readUInt32LE(at),
    inoHigh: buffer.readUInt32LE(at + 4),
    cookieLow: buffer.readUInt32LE(at + 8),
    cookieHigh: buffer.readUInt32LE(at + 12),
    type: buffer[at + 18]!,
    name: buffer.toString("latin1", nameAt, buffer.indexOf(0, nameAt)),
    nameAt,
    next: at + buffer.readUInt16LE(at + 16),
  };
}
