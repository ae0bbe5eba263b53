/**
 * Sectors that say who wrote them: every sector of a write holds the write's number and the sector's own, and bytes that follow
 * from the two. So what a sector should hold is known from the log of writes alone. Numbers count from 1; a sector of zeros was
 * never written.
 *
 *   log line   "I number offset length"   the write was issued
 *              "A number"                 and answered: it must never be lost but with the power
 *              "F number"                 and flushed: it must not be lost then either
 */
import { assert } from "../../src/base/assert.ts";

export const SECTOR_BYTES = 512;
const WORDS = SECTOR_BYTES / 4;

/** Fills `buffer`, which is for `offset` (a multiple of SECTOR_BYTES), with the sectors of write `number`. */
export function stamp(buffer: Buffer, number: number, offset: number): void {
  const words = new Uint32Array(buffer.buffer, buffer.byteOffset, buffer.length / 4);
  for (let at = 0; at < words.length; at += WORDS) stampSector(words, at, number, offset / SECTOR_BYTES + at / WORDS);
}

function stampSector(words: Uint32Array, at: number, number: number, sector: number): void {
  words[at] = number;
  words[at + 1] = sector;
  let state = (Math.imul(number, 0x9e3779b1) ^ sector) >>> 0 || 1;
  for (let i = 2; i < WORDS; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[at + i] = state;
  }
}

/** The number of the write that `content` shows at `sector`; 0: none; -1: no whole stamp for this sector. */
function stampAt(content: Buffer, sector: number): number {
  const found = content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
  const number = found.readUInt32LE(0);
  const wanted = Buffer.alloc(SECTOR_BYTES);
  if (number > 0) stamp(wanted, number, sector * SECTOR_BYTES);
  return found.equals(wanted) ? number : -1;
}

interface Issued {
  offset: number;
  length: number;
  answered: boolean;
  flushed: boolean;
}

export interface Findings {
  /** Writes that are promised to be there. */
  promised: number;
  /** Sectors that hold anything but their last promised write or another one after it. Empty when all is well. */
  wrong: string[];
}

/**
 * Holds `content` against the log, which promises what was answered or, after a loss of power, what was flushed. No two writes of
 * one sector were ever in flight together.
 */
export function check(content: Buffer, log: string, promise: "answered" | "flushed" = "answered"): Findings {
  const writes = parse(log);
  const last = new Uint32Array(content.length / SECTOR_BYTES);
  const maybe = new Map<number, Set<number>>();
  for (const [number, write] of writes) {
    for (let sector = write.offset / SECTOR_BYTES; sector < (write.offset + write.length) / SECTOR_BYTES; sector++) {
      if (write[promise]) last[sector] = number;
      else maybe.set(sector, (maybe.get(sector) ?? new Set()).add(number));
    }
  }
  const wrong: string[] = [];
  for (let sector = 0; sector < last.length; sector++) {
    const found = stampAt(content, sector);
    if (found === last[sector] || (found > last[sector]! && maybe.get(sector)?.has(found) === true)) continue;
    wrong.push(
      `sector ${sector}: write ${last[sector]} was ${promise}, found ${found === -1 ? "garbage" : `write ${found}`}`,
    );
  }
  return { promised: [...writes.values()].filter((write) => write[promise]).length, wrong };
}

/** A line that a kill cut short tells nothing. */
function parse(log: string): Map<number, Issued> {
  const writes = new Map<number, Issued>();
  for (const line of log.split("\n").slice(0, -1)) {
    const [kind, number, offset, length] = line.split(" ");
    const place = { offset: Number(offset), length: Number(length) };
    if (kind === "I") writes.set(Number(number), { ...place, answered: false, flushed: false });
    else {
      const write = writes.get(Number(number));
      assert(write !== undefined, `an answered write was issued: ${line}`);
      write[kind === "A" ? "answered" : "flushed"] = true;
    }
  }
  return writes;
}
