/**
 * A superblock of the journal: whose it is, and where its live commits begin. Little-endian, 4096 bytes:
 *
 *   0  "HYPEJRNL"               8  u32 crc32 of all that follows    12 u32 version
 *   16 journal id, 16 bytes     32 f64 generation: the larger is the newer superblock
 *   40 f64 ring blocks          48 f64 tail's ring block            56 f64 tail's sequence
 *   64 f64 durable: every commit below this sequence was on stable media when this was written
 *   72 f64 epoch: of the engine that wrote it                       80 f64 lease, ms since 1970: see below
 *   88 u32 checksum of the commit before the tail                   92 u32 length of the path
 *   96 path of the backing directory, UTF-8, at most 1024 bytes, for people
 *
 * The lease: home files may have been written by us until then. One that was modified later was modified by somebody else.
 */
import { crc32 } from "node:zlib";
import type { JournalReader } from "./contract.ts";
import { ringBlocks, SUPERBLOCK_BYTES } from "./layout.ts";

export const JOURNAL_VERSION = 1;
const MAGIC = "HYPEJRNL";
const CHECKED_FROM = 12;
const PATH_BYTES_MAX = 1024;

export interface Superblock {
  /** 32 hexadecimal digits. */
  readonly id: string;
  generation: number;
  readonly blocks: number;
  tailPosition: number;
  tailSequence: number;
  durable: number;
  epoch: number;
  leaseMs: number;
  /** What the commit at the tail names as its predecessor. */
  tailPrevious: number;
  readonly backing: string;
}

/** Of a journal file of `bytes` that nothing was committed to. */
export const newSuperblock = (id: string, bytes: number, backing: string, leaseMs: number): Superblock => ({
  id,
  generation: 0,
  blocks: ringBlocks(bytes),
  tailPosition: 0,
  tailSequence: 1,
  tailPrevious: 0,
  durable: 1,
  epoch: 0,
  leaseMs,
  backing,
});

/** Encodes `superblock` into `into`, 4096 bytes. */
export function encodeSuperblock(superblock: Superblock, into: Buffer): void {
  into.fill(0);
  into.write(MAGIC, 0, "latin1");
  into.writeUInt32LE(JOURNAL_VERSION, 12);
  into.write(superblock.id, 16, "hex");
  const { generation, blocks, tailPosition, tailSequence, durable, epoch, leaseMs } = superblock;
  [generation, blocks, tailPosition, tailSequence, durable, epoch, leaseMs].forEach((value, i) => {
    into.writeDoubleLE(value, 32 + i * 8);
  });
  into.writeUInt32LE(superblock.tailPrevious, 88);
  const path = Buffer.from(superblock.backing).subarray(0, PATH_BYTES_MAX);
  into.writeUInt32LE(path.length, 92);
  path.copy(into, 96);
  into.writeUInt32LE(crc32(into.subarray(CHECKED_FROM)), 8);
}

/**
 * What one slot holds, or both together. `blank`: zeros. `alien`: no superblock of a journal. `damaged`: one whose checksum is
 * wrong. `resized`: one of a file of another length. `newer`: a later version's.
 */
export type JournalState = "good" | "blank" | "alien" | "damaged" | "resized" | "newer" | "unreadable";

interface Slot {
  state: JournalState;
  superblock: Superblock | undefined;
}

/** Decodes one slot of a journal file of `bytes`. */
export function decodeSuperblock(from: Buffer, bytes: number): Slot {
  const none = (state: JournalState): Slot => ({ state, superblock: undefined });
  if (from.every((byte) => byte === 0)) return none("blank");
  if (from.toString("latin1", 0, 8) !== MAGIC) return none("alien");
  if (from.readUInt32LE(8) !== crc32(from.subarray(CHECKED_FROM))) return none("damaged");
  if (from.readUInt32LE(12) !== JOURNAL_VERSION) return none("newer");
  const [generation, blocks, tailPosition, tailSequence, durable, epoch, leaseMs] = Array.from({ length: 7 }, (_, i) =>
    from.readDoubleLE(32 + i * 8),
  ) as [number, number, number, number, number, number, number];
  if (blocks !== ringBlocks(bytes)) return none("resized");
  return {
    state: "good",
    superblock: {
      id: from.toString("hex", 16, 32),
      generation,
      blocks,
      tailPosition,
      tailSequence,
      durable,
      epoch,
      leaseMs,
      tailPrevious: from.readUInt32LE(88),
      backing: from.toString("utf8", 96, 96 + Math.min(from.readUInt32LE(92), PATH_BYTES_MAX)),
    },
  };
}

/** The first of these that either slot has is what the journal is. */
const PRECEDENCE: readonly JournalState[] = ["newer", "good", "resized", "unreadable", "damaged", "alien", "blank"];

/** Reads both superblocks; of two good ones the newer counts. */
export function readSuperblocks(reader: JournalReader): { state: JournalState; superblock: Superblock | undefined } {
  const slots = [0, 1].map((slot): Slot => {
    const bytes = Buffer.alloc(SUPERBLOCK_BYTES);
    const got = reader.read(slot * SUPERBLOCK_BYTES, bytes);
    return got < 0 ? { state: "unreadable", superblock: undefined } : decodeSuperblock(bytes, reader.size);
  });
  const state = PRECEDENCE.find((candidate) => slots.some((slot) => slot.state === candidate))!;
  const superblock = slots
    .map((slot) => slot.superblock)
    .filter((candidate) => candidate !== undefined)
    .sort((a, b) => b.generation - a.generation)[0];
  return { state, superblock: state === "good" ? superblock : undefined };
}
