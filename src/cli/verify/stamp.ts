/**
 * Blocks that say who wrote them:
 *
 *   0  u32 magic   4  u32 image   8  f64 block   16 f64 sequence   24 u32 CRC-32 of all the rest   28 u32 filler, by sequence
 */
import { crc32 } from "node:zlib";
import { BLOCK_BYTES } from "../../base/units.ts";

const MAGIC = 0x53564748;
const CRC_AT = 24;
const FILLER_AT = 28;

/** Where and when a block was written. */
export interface Stamp {
  image: number;
  block: number;
  /** From 1; 0 for a block of zeros, which nobody wrote. */
  sequence: number;
}

/** Fills the block that begins at `at` in `buffer`. */
export function stampBlock(buffer: Buffer, at: number, { image, block, sequence }: Stamp): void {
  buffer.writeUInt32LE(MAGIC, at);
  buffer.writeUInt32LE(image, at + 4);
  buffer.writeDoubleLE(block, at + 8);
  buffer.writeDoubleLE(sequence, at + 16);
  let state = (Math.imul(sequence, 0x9e3779b1) ^ block) >>> 0 || 1;
  for (let i = at + FILLER_AT; i < at + BLOCK_BYTES; i += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    buffer.writeInt32LE(state, i);
  }
  buffer.writeUInt32LE(checksum(buffer, at), at + CRC_AT);
}

/** The sequence of the whole and sound stamp of `image` and `block` at `at`; 0 for zeros; -1 for anything else. */
export function sequenceAt(buffer: Buffer, at: number, image: number, block: number): number {
  const sound =
    buffer.readUInt32LE(at) === MAGIC &&
    buffer.readUInt32LE(at + 4) === image &&
    buffer.readDoubleLE(at + 8) === block &&
    buffer.readUInt32LE(at + CRC_AT) === checksum(buffer, at);
  if (sound) return buffer.readDoubleLE(at + 16);
  return buffer.subarray(at, at + BLOCK_BYTES).every((byte) => byte === 0) ? 0 : -1;
}

const checksum = (buffer: Buffer, at: number): number =>
  crc32(buffer.subarray(at + FILLER_AT, at + BLOCK_BYTES), crc32(buffer.subarray(at, at + CRC_AT)));
