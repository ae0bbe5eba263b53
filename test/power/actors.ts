/** What the clients of a workload do, each in its own way. All take their choices from a seed. */
import { setTimeout as sleep } from "node:timers/promises";
import type { Random } from "../sim/random.ts";
import type { Client, ImageFile } from "./client.ts";

/** Sectors of a disk image: small enough to read whole after every cut, large enough for many runs. */
const DISK_SECTORS = 2048;
const BLOCK_SECTORS = 8;
const PAUSE_MS_MAX = 20;
/** Names that `filer` has files under, and as many that it renames to. */
const NAMES = 6;

/** A guest's disk: writes in place, whole blocks and odd sectors, now and then a discard, and flushes of both kinds. */
export async function disk(client: Client, file: ImageFile, random: Random, steps: number): Promise<void> {
  await client.truncate(file, DISK_SECTORS);
  await client.flush(file, false);
  for (let i = 0; i < steps; i++) {
    const [first, count] = random.chance(0.7) ? blocks(random, DISK_SECTORS) : sectors(random, DISK_SECTORS);
    if (random.chance(0.06)) await client.punch(file, first, count);
    else await client.write(file, first, count);
    if (random.chance(0.25)) await client.flush(file, random.chance(0.6));
    if (random.chance(0.05)) await sleep(random.below(PAUSE_MS_MAX));
  }
}

/** First sector and number of sectors of a write of whole blocks to a disk of `size` sectors. */
export function blocks(random: Random, size: number): [number, number] {
  const count = random.magnitude(32);
  // Half of all writes go where others went: rewrites of dirty blocks and of blocks that are on their way home.
  const places = random.chance(0.5) ? 16 : size / BLOCK_SECTORS - count;
  return [random.below(places) * BLOCK_SECTORS, count * BLOCK_SECTORS];
}

/** The same, of any sectors. */
export function sectors(random: Random, size: number): [number, number] {
  const count = random.magnitude(20);
  return [random.below(size - count), count];
}

/** Flushes while somebody else writes. */
export async function flusher(client: Client, file: ImageFile, random: Random, steps: number): Promise<void> {
  for (let i = 0; i < steps; i += 4) {
    await client.flush(file, random.chance(0.6));
    await sleep(random.below(PAUSE_MS_MAX));
  }
}

/** A file that grows by writes at its end and beyond, and by truncate, and shrinks. */
export async function appender(client: Client, file: ImageFile, random: Random, steps: number): Promise<void> {
  for (let i = 0; i < steps; i++) {
    if (random.chance(0.2)) await client.truncate(file, random.below(DISK_SECTORS / 2));
    else await client.write(file, file.size + (random.chance(0.2) ? random.below(64) : 0), random.magnitude(64));
    if (random.chance(0.4)) await client.flush(file, random.chance(0.6));
    if (file.size > DISK_SECTORS) await client.truncate(file, 0);
  }
}

/** Makes, renames, replaces and removes small files, with flushes of files and of their directory in between. */
export async function filer(client: Client, random: Random, steps: number): Promise<void> {
  const held = new Map<string, ImageFile>();
  for (let i = 0; i < steps; i++) {
    const name = `file${random.below(NAMES)}`;
    const file = held.get(name);
    if (file === undefined) held.set(name, await makeFile(client, name, random));
    else if (random.chance(0.6)) await moveFile(client, held, name, `renamed${random.below(NAMES)}`);
    else await removeFile(client, held, name);
    if (random.chance(0.4)) await client.flushDirectory();
  }
}

async function makeFile(client: Client, name: string, random: Random): Promise<ImageFile> {
  const file = await client.create(name, "buffered");
  await client.write(file, random.chance(0.3) ? random.below(16) : 0, random.magnitude(128));
  if (random.chance(0.7)) await client.flush(file, random.chance(0.5));
  if (random.chance(0.3)) await client.write(file, 0, random.magnitude(16));
  return file;
}

async function moveFile(client: Client, held: Map<string, ImageFile>, from: string, to: string): Promise<void> {
  const file = held.get(from)!;
  await client.rename(file, from, to);
  await held.get(to)?.handle.close();
  held.delete(from);
  held.set(to, file);
}

async function removeFile(client: Client, held: Map<string, ImageFile>, name: string): Promise<void> {
  const file = held.get(name)!;
  await client.unlink(file, name);
  await file.handle.close();
  held.delete(name);
}
