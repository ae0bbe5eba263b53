/**
 * How fast `hypegear recover` takes a full journal home, beside what the disk does in sequence.
 *
 * No power is cut for it. Journaled data, keeper and engine killed, the slab removed, and a state file of another boot are what a
 * cut leaves.
 */
import { execFile } from "node:child_process";
import { mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { currentBootId } from "../src/keeper/state.ts";
import { humanBytes } from "../src/stats/human.ts";
import type { Options } from "./options.ts";
import { discardSlab, killHypegear, mountHypegear, statsOf } from "./servers/hypegear.ts";
import type { Cleanup } from "./support/cleanup.ts";
import { type FioJob, runFio } from "./support/fio.ts";
import { HYPEGEAR } from "./support/project.ts";
import { writeImage } from "./support/scratch.ts";
import { figure } from "./support/table.ts";

const MiB = 2 ** 20;
/** Share of the journal that blocks fill: the rest is its headers, and what it keeps free. */
const FILL = 0.8;
/** Every record in the journal has a place of its own in an image of this many times its size. */
const IMAGE_PER_JOURNAL = 2;
/** Nothing is to go home by itself, and no flush is to go home because that were cheaper. */
const KEEP_JOURNALED = ["--durability", "sync", "--device", "hdd", "--rate-limit", "64k"];
const RECOVER_TIMEOUT_MS = 600_000;

export interface ReplayResult {
  journalBytes: number;
  recoverMs: number;
  /** Milliseconds in which the disk reads as many bytes in sequence, and writes them. */
  readMs: number;
  writeMs: number;
}

function job(files: string[], bytes: number, options: Options, cleanup: Cleanup): Omit<FioJob, "rw" | "blockSize"> {
  const { engine, seed, pin } = options;
  const size = { files, bytes, depth: 4, flushEvery: 0 };
  return { ...size, engine, seconds: null, seed, pin, interrupted: cleanup.interrupted };
}

/** Reads and writes `bytes` in sequence with O_DIRECT. */
async function sequential(file: string, bytes: number, options: Options, cleanup: Cleanup) {
  const whole = { ...job([file], bytes, options, cleanup), blockSize: "1m" };
  const msOf = async (rw: "read" | "write"): Promise<number> => {
    const { operations, iops } = await runFio({ ...whole, rw });
    return (operations / iops) * 1000;
  };
  return { readMs: await msOf("read"), writeMs: await msOf("write") };
}

/** The state becomes that of an earlier boot, whose memory is gone. */
function bootAnew(backing: string): void {
  const file = join(backing, ".hypegear/state.json");
  discardSlab(backing);
  writeFileSync(file, readFileSync(file, "utf8").replace(currentBootId(), "of-an-earlier-boot"));
}

/** Throws, with what the program said, when this build has no journal. */
export async function measureReplay(options: Options, scratch: string, cleanup: Cleanup): Promise<ReplayResult> {
  const directory = join(scratch, "replay");
  const [backing, mountpoint] = [join(directory, "backing"), join(directory, "mount")];
  for (const path of [directory, backing, mountpoint]) mkdirSync(path);
  const imageBytes = IMAGE_PER_JOURNAL * options.journalBytes;
  writeImage(join(backing, "image"), imageBytes);
  const size = ["--journal-size", `${options.journalBytes / MiB}M`];
  const stage = { ...options, cacheBytes: imageBytes, directory, cleanup };
  const server = await mountHypegear(stage, backing, mountpoint, [...KEEP_JOURNALED, ...size]);
  const filling = job([join(mountpoint, "image")], FILL * options.journalBytes, options, cleanup);
  await runFio({ ...filling, depth: 1, rw: "randwrite", blockSize: "64k", flushEvery: 32 });
  const journalBytes = statsOf(mountpoint).flushes.journal_bytes;
  if (journalBytes === 0) throw new Error("nothing was journaled: every flush went home");
  await killHypegear(server, mountpoint);
  bootAnew(backing);
  const disk = join(directory, "sequential");
  writeImage(disk, options.journalBytes);
  const { readMs, writeMs } = await sequential(disk, options.journalBytes, options, cleanup);
  rmSync(disk);
  const started = performance.now();
  await promisify(execFile)(HYPEGEAR, ["recover", backing], { timeout: RECOVER_TIMEOUT_MS });
  const recoverMs = performance.now() - started;
  const share = journalBytes / options.journalBytes;
  return { journalBytes, recoverMs, readMs: readMs * share, writeMs: writeMs * share };
}

export function replayReport({ journalBytes, recoverMs, readMs, writeMs }: ReplayResult): string {
  const rate = (ms: number): string => `${figure(journalBytes / MiB / (ms / 1000))} MiB/s`;
  return (
    `hypegear recover of a journal of ${humanBytes(journalBytes)}: ${figure(recoverMs / 1000)} s, ${rate(recoverMs)}\n` +
    `  the disk in sequence, O_DIRECT: reads ${rate(readMs)}, writes ${rate(writeMs)}, both ${rate(readMs + writeMs)}\n` +
    `  recover takes ${figure(recoverMs / (readMs + writeMs))} x the time of reading and writing as much in sequence\n`
  );
}
