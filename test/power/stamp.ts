/**
 * Sectors that say what they are: image, the number of the write, their place, and a checksum over all of it.
 *
 *   0      4      8       12      16                    512
 *   | crc  | image| number| sector| words from number ... |     little-endian; the crc covers bytes 4 to 511
 *
 * Numbers and images count from 1, sectors from 0. A sector of zeros was never written, or punched.
 */
import { crc32 } from "node:zlib";

export const SECTOR_BYTES = 512;
const ZEROS = Buffer.alloc(SECTOR_BYTES);

/** The sectors of write `number` of `image`, from `first` on. */
export function stamped(image: number, number: number, first: number, count: number): Buffer {
  const buffer = Buffer.from(new ArrayBuffer(count * SECTOR_BYTES));
  for (let i = 0; i < count; i++) {
    const sector = buffer.subarray(i * SECTOR_BYTES, (i + 1) * SECTOR_BYTES);
    sector.writeUInt32LE(image, 4);
    sector.writeUInt32LE(number, 8);
    sector.writeUInt32LE(first + i, 12);
    for (let at = 16; at < SECTOR_BYTES; at += 4) sector.writeUInt32LE((number * 0x10001 + at) >>> 0, at);
    sector.writeUInt32LE(crc32(sector.subarray(4)), 0);
  }
  return buffer;
}

/** The number of the write that a sector shows, 0 for zeros; or, in words, why it can be none of `image` at `place`. */
export function readStamp(sector: Buffer, image: number, place: number): number | string {
  if (sector.equals(ZEROS)) return 0;
  if (sector.readUInt32LE(0) !== crc32(sector.subarray(4))) return "bytes of no write, or of two";
  if (sector.readUInt32LE(4) !== image) return `bytes of image ${sector.readUInt32LE(4)}`;
  if (sector.readUInt32LE(12) !== place) return `the bytes of sector ${sector.readUInt32LE(12)}`;
  return sector.readUInt32LE(8);
}
