/** How long clients wait when the engine is killed with much dirty data in the cache. */
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { StatsDocument } from "../src/stats/document.ts";
import { humanBytes } from "../src/stats/human.ts";
import type { Options } from "./options.ts";
import { abandonHypegear, mountHypegear } from "./servers/hypegear.ts";
import type { Cleanup } from "./support/cleanup.ts";
import { sleep } from "./support/process.ts";
import { spreadOf } from "./support/spread.ts";
import { figure, spreadText } from "./support/table.ts";

const CHUNK_BYTES = 2 ** 20;
const BLOCK_BYTES = 4096;
/** Cache and dirty limit are such that all of it stays dirty, and no write is delayed. */
const CACHE_PER_DIRTY = 1.5;
const KEEP_DIRTY = ["--dirty-limit", "95%", "--rate-limit", "64k"];
/** Clients run so long before the kill and after the new engine serves. */
const STEADY_MS = 300;
const RESTART_TIMEOUT_MS = 120_000;
const POLL_MS = 20;

export interface RestartResult {
  dirtyBytes: number;
  /** The longest that a 4k read or write waited, one kill each, milliseconds. */
  waitMs: number[];
  /** The same on a quiet mount. */
  undisturbedMs: number;
}

/** One client that reads and one that writes, a block at a time in steps over the image; knows the longest that either waited. */
class Clients {
  longestMs = 0;
  private stopped = false;
  private readonly ended: Promise<void[]>;

  constructor(image: FileHandle, bytes: number) {
    const block = Buffer.alloc(BLOCK_BYTES, 0xa5);
    const into = Buffer.alloc(BLOCK_BYTES);
    this.ended = Promise.all([
      this.run(bytes, (at) => image.write(block, 0, BLOCK_BYTES, at)),
      this.run(bytes, (at) => image.read(into, 0, BLOCK_BYTES, at)),
    ]);
  }

  async stop(): Promise<void> {
    this.stopped = true;
    await this.ended;
  }

  private async run(bytes: number, request: (at: number) => Promise<unknown>): Promise<void> {
    const step = 7919 * BLOCK_BYTES;
    for (let at = 0; !this.stopped; at = (at + step) % bytes) {
      const started = performance.now();
      await request(at);
      this.longestMs = Math.max(this.longestMs, performance.now() - started);
    }
  }
}

/** Not `statsOf`: its wait would stop the clients, which share this thread. */
const engineOf = async (mountpoint: string): Promise<StatsDocument["engine"] & { dirtyBytes: number }> => {
  const stats = JSON.parse(await readFile(join(mountpoint, ".hypegear/stats.json"), "utf8")) as StatsDocument;
  return { ...stats.engine, dirtyBytes: stats.dirty.bytes };
};

async function longestWait(image: FileHandle, bytes: number, disturb: () => Promise<void>): Promise<number> {
  const clients = new Clients(image, bytes);
  try {
    await sleep(STEADY_MS);
    await disturb();
    await sleep(STEADY_MS);
  } finally {
    await clients.stop();
  }
  return clients.longestMs;
}

async function killEngine(mountpoint: string): Promise<void> {
  const { pid, restarts } = await engineOf(mountpoint);
  process.kill(pid, "SIGKILL");
  for (let waited = 0; (await engineOf(mountpoint)).restarts === restarts; waited += POLL_MS) {
    if (waited > RESTART_TIMEOUT_MS) throw new Error(`no new engine ${waited / 1000} s after the kill of ${pid}`);
    await sleep(POLL_MS);
  }
}

async function fill(image: FileHandle, bytes: number): Promise<void> {
  const chunk = Buffer.alloc(CHUNK_BYTES, 0x5a);
  for (let at = 0; at < bytes; at += CHUNK_BYTES) await image.write(chunk, 0, CHUNK_BYTES, at);
}

/** Fills a cache, kills its engine once a round, and leaves nothing to write home. */
export async function measureRestart(options: Options, scratch: string, cleanup: Cleanup): Promise<RestartResult> {
  const directory = join(scratch, "restart");
  const [backing, mountpoint] = [join(directory, "backing"), join(directory, "mount")];
  for (const path of [directory, backing, mountpoint]) mkdirSync(path);
  const bytes = options.dirtyBytes;
  writeFileSync(join(backing, "image"), "");
  truncateSync(join(backing, "image"), bytes);
  const stage = { ...options, cacheBytes: CACHE_PER_DIRTY * bytes, directory, cleanup };
  const server = await mountHypegear(stage, backing, mountpoint, KEEP_DIRTY);
  cleanup.add(() => abandonHypegear(server, backing, mountpoint));
  const image = await open(join(mountpoint, "image"), "r+");
  const result: RestartResult = { dirtyBytes: 0, waitMs: [], undisturbedMs: 0 };
  try {
    await fill(image, bytes);
    result.undisturbedMs = await longestWait(image, bytes, () => sleep(STEADY_MS));
    for (let round = 0; round < options.rounds; round += 1) {
      result.waitMs.push(await longestWait(image, bytes, () => killEngine(mountpoint)));
    }
    result.dirtyBytes = (await engineOf(mountpoint)).dirtyBytes;
  } finally {
    await image.close();
  }
  return result;
}

export function restartReport({ dirtyBytes, waitMs, undisturbedMs }: RestartResult): string {
  return (
    `Engine killed with ${humanBytes(dirtyBytes)} dirty, ${waitMs.length} times\n` +
    `  longest wait of a 4k read or write: ${spreadText(spreadOf(waitMs))} ms; undisturbed ${figure(undisturbedMs)} ms\n`
  );
}
