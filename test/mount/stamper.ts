/**
 * A client that writes stamps at random places, several at a time, until it is killed: `stamper.js FILE LOG BYTES SEED [fsync|dsync]`.
 * FILE has BYTES bytes. The log is appended to before each write and after each answer; with `fsync`, each write is flushed before
 * another comes to its place, and that is noted too; with `dsync`, it is answered when it is flushed. Prints a line at its first answer.
 */
import { constants, openSync, writeSync } from "node:fs";
import { open } from "node:fs/promises";
import { SECTOR_BYTES, stamp } from "./stamps.ts";

const DEPTH = 8;
const SECTORS_MAX = 256;

const [file, logPath, size, seed, flushing] = process.argv.slice(2) as [string, string, string, string, string?];
const sectors = Number(size) / SECTOR_BYTES;
const log = openSync(logPath, "a");
const handle = await open(file, constants.O_RDWR | constants.O_DIRECT | (flushing === "dsync" ? constants.O_DSYNC : 0));
const busy = new Uint8Array(sectors);
let last = 0;
let state = Number(seed) || 1;

/** An integer from 0 to `below` - 1. */
function random(below: number): number {
  state ^= state << 13;
  state ^= state >>> 17;
  state ^= state << 5;
  return (state >>> 0) % below;
}

/** A place that no write in flight touches. */
function place(): { first: number; count: number } {
  for (;;) {
    const first = random(sectors);
    const count = Math.min(1 + random(random(2) === 0 ? 8 : SECTORS_MAX), sectors - first);
    if (busy.subarray(first, first + count).every((used) => used === 0)) return { first, count };
  }
}

async function writeForEver(): Promise<never> {
  for (;;) {
    const { first, count } = place();
    const number = ++last;
    const buffer = Buffer.from(new ArrayBuffer(count * SECTOR_BYTES));
    stamp(buffer, number, first * SECTOR_BYTES);
    busy.fill(1, first, first + count);
    writeSync(log, `I ${number} ${first * SECTOR_BYTES} ${buffer.length}\n`);
    const { bytesWritten } = await handle.write(buffer, 0, buffer.length, first * SECTOR_BYTES);
    if (bytesWritten !== buffer.length) throw new Error(`${bytesWritten} of ${buffer.length} bytes were taken`);
    writeSync(log, `A ${number}\n`);
    if (flushing === "fsync") await flush(number);
    if (number === 1) console.log("writing");
    busy.fill(0, first, first + count);
  }
}

async function flush(number: number): Promise<void> {
  await (number % 2 === 0 ? handle.sync() : handle.datasync());
  writeSync(log, `F ${number}\n`);
}

await Promise.all(Array.from({ length: DEPTH }, writeForEver));
