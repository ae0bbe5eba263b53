/**
 * The log of a device's writes, flushes and discards, in the format of the kernel's dm-log-writes, as QEMU's `blklogwrites` writes
 * it. All numbers are little-endian; a log sector has as many bytes as the superblock says (QEMU: 512).
 *
 *   log sector 0      superblock   0 magic u64 | 8 version u64 = 1 | 16 entries u64 | 24 bytes of a log sector u32
 *   then, each entry  one sector   0 first device sector u64 | 8 device sectors u64 | 16 flags u64 | 24 data_len u64 (QEMU: 0)
 *                     its data     as many sectors as the write has; none for a discard
 *
 * QEMU logs a write when it has completed, and brings the superblock up to date when it logs a flush: before that
 * flush is answered. So the number of entries that the superblock shows names the last flush: whatever was reported durable
 * by now must be in those entries.
 */
import { closeSync, openSync, readSync } from "node:fs";
import { assert } from "../../src/base/assert.ts";

const MAGIC = 0x6a736677736872n;
const SUPERBLOCK_BYTES = 28;
const ENTRY_BYTES = 32;
const Flag = { flush: 1, fua: 2, discard: 4, mark: 8 } as const;

export interface Entry {
  kind: "write" | "flush" | "discard";
  /** Place and length on the device, bytes. */
  offset: number;
  length: number;
  /** Where its data lies in the log file, bytes. */
  data: number;
}

/** Entries up to the last logged flush, which is among them; 0 before the first. `fd` is of the log, which may be growing. */
export function flushedEntries(fd: number): number {
  const superblock = Buffer.alloc(SUPERBLOCK_BYTES);
  if (readSync(fd, superblock, 0, SUPERBLOCK_BYTES, 0) < SUPERBLOCK_BYTES) return 0;
  return Number(superblock.readBigUInt64LE(16));
}

/** All entries that the superblock counts. */
export function readLog(path: string): Entry[] {
  const fd = openSync(path, "r");
  try {
    const superblock = Buffer.alloc(SUPERBLOCK_BYTES);
    readSync(fd, superblock, 0, SUPERBLOCK_BYTES, 0);
    assert(superblock.readBigUInt64LE(0) === MAGIC, `${path} is a log of writes`);
    assert(superblock.readBigUInt64LE(8) === 1n, `${path} has version 1`);
    return [...entries(fd, flushedEntries(fd), superblock.readUInt32LE(24))];
  } finally {
    closeSync(fd);
  }
}

function* entries(fd: number, count: number, sectorBytes: number): Generator<Entry> {
  const header = Buffer.alloc(ENTRY_BYTES);
  let at = sectorBytes;
  for (let i = 0; i < count; i++) {
    assert(readSync(fd, header, 0, ENTRY_BYTES, at) === ENTRY_BYTES, `entry ${i} is in the log`);
    const flags = Number(header.readBigUInt64LE(16));
    assert((flags & ~(Flag.flush | Flag.discard)) === 0, `entry ${i} is of a kind that QEMU writes: flags ${flags}`);
    const entry: Entry = {
      kind: flags & Flag.flush ? "flush" : flags & Flag.discard ? "discard" : "write",
      offset: Number(header.readBigUInt64LE(0)) * sectorBytes,
      length: Number(header.readBigUInt64LE(8)) * sectorBytes,
      data: at + sectorBytes,
    };
    yield entry;
    at = entry.data + (entry.kind === "write" ? entry.length : 0);
  }
}
