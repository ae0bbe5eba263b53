/** fio with verification: what it wrote it reads back and checks, and any error at all fails the test. */
import { createHash } from "node:crypto";
import { createReadStream, readFileSync } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";
import { expect } from "vitest";
import { run } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";

export interface FioJob {
  file: string;
  engine: "libaio" | "io_uring" | "psync" | "mmap";
  /** O_DIRECT. */
  direct: boolean;
  mib: number;
  /** Write, verify, and again, for so long; default: once. */
  seconds?: number;
  /** fsync after so many writes; default: never. */
  fsync?: number;
}

export interface FioReport {
  error: number;
  write: { total_ios: number; io_bytes: number; bw_bytes: number; clat_ns: { max: number } };
  read: { total_ios: number; io_bytes: number; clat_ns: { max: number } };
}

const DEPTH = 16;
/** A pass that is not over by then hangs. */
const PATIENCE_MS = 60_000;

/**
 * Writes all of the file once, in random order, from 512 B to 256 KiB at multiples of 512 B, and reads it back; again and
 * again with other contents, until `seconds` are over. What fio measured, a pass each.
 */
export async function fio(job: FioJob): Promise<FioReport[]> {
  const scratch = scratchDirectory("fio");
  const end = performance.now() + (job.seconds ?? 0) * 1000;
  const reports: FioReport[] = [];
  do reports.push(await pass(job, reports.length + 1, scratch));
  while (performance.now() < end);
  return reports;
}

/** `cwd` is where fio leaves the blocks that differ. */
async function pass(job: FioJob, seed: number, cwd: string): Promise<FioReport> {
  const { code, stdout, stderr } = await run("fio", optionsOf(job, seed), { cwd, timeout: PATIENCE_MS });
  expect(code, `fio on ${job.file}, pass ${seed}: ${stderr}${stdout}`).toBe(0);
  const [report] = (JSON.parse(readFileSync(join(cwd, "report"), "utf8")) as { jobs: FioReport[] }).jobs;
  expect(report!.error).toBe(0);
  expect(report!.write.io_bytes).toBe(job.mib * 2 ** 20);
  expect(report!.read.io_bytes).toBe(job.mib * 2 ** 20);
  return report!;
}

function optionsOf({ file, engine, direct, mib, fsync }: FioJob, seed: number): string[] {
  const isQueued = engine === "libaio" || engine === "io_uring";
  return [
    "--name=verified",
    `--filename=${file}`,
    `--size=${mib}m`,
    "--rw=randwrite",
    `--randseed=${seed}`,
    "--bsrange=512-256k",
    "--blockalign=512",
    "--fallocate=none",
    `--ioengine=${engine}`,
    `--direct=${Number(direct)}`,
    ...(isQueued ? [`--iodepth=${DEPTH}`] : []),
    "--verify=crc32c",
    "--verify_interval=512",
    "--verify_fatal=1",
    "--verify_dump=1",
    ...(fsync === undefined ? [] : [`--fsync=${fsync}`]),
    "--output-format=json",
    "--output=report",
  ];
}

/** The longest wait of a client for one request in any of `reports`, milliseconds. */
export const worstMs = (reports: readonly FioReport[]): number =>
  Math.round(Math.max(...reports.flatMap(({ read, write }) => [read.clat_ns.max, write.clat_ns.max])) / 1e6);

/** SHA-256 of each of `names` in `directory`. */
export async function digests(directory: string, names: readonly string[]): Promise<string[]> {
  const result: string[] = [];
  for (const name of names) {
    const hash = createHash("sha256");
    await pipeline(createReadStream(join(directory, name)), hash);
    result.push(`${name} ${hash.digest("hex")}`);
  }
  return result;
}
