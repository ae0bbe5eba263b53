/** One run of fio and what it measured. */
import { execFile } from "node:child_process";
import { pinned } from "./process.ts";

export interface FioJob {
  /** One client each. */
  files: string[];
  /** Of each file. */
  bytes: number;
  rw: "randwrite" | "randread" | "write" | "read";
  blockSize: string;
  depth: number;
  /** fdatasync(2) after so many writes; 0: never. */
  flushEvery: number;
  engine: "libaio" | "io_uring";
  /** null: once over the whole file. */
  seconds: number | null;
  seed: number;
  pin: number | null;
  /** Kills it; `runFio` then never returns, because the process is about to end. */
  interrupted: AbortSignal;
}

export interface FioResult {
  operations: number;
  iops: number;
  /**
   * Submission and completion together, because a server without asynchronous direct I/O (libfuse 2.9) makes the submission
   * wait. null unless the depth is 1: elsewhere fio is told to spare itself the clock.
   */
  latencyUs: { mean: number; p99: number } | null;
}

interface FioDirection {
  total_ios: number;
  iops: number;
  lat_ns: { mean: number; percentile?: Record<string, number> };
}
interface FioOutput {
  jobs: { error: number; read: FioDirection; write: FioDirection }[];
}

/** A server that hangs is told from a slow one by this much beyond the running time. */
const HANG_TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 2 ** 24;

function fioArguments(job: FioJob): string[] {
  const time = job.seconds === null ? [] : ["--time_based", `--runtime=${Math.round(job.seconds * 1000)}ms`];
  const clock = job.depth === 1 ? ["--lat_percentiles=1", "--clat_percentiles=0"] : ["--gtod_reduce=1"];
  const file = [`--size=${job.bytes}`, "--direct=1", "--allow_file_create=0", `--fdatasync=${job.flushEvery}`];
  const requests = [`--rw=${job.rw}`, `--bs=${job.blockSize}`, `--iodepth=${job.depth}`, `--ioengine=${job.engine}`];
  const client = [
    "--norandommap",
    `--randseed=${job.seed}`,
    "--scramble_buffers=0",
    "--thread",
    "--group_reporting",
    "--output-format=json",
  ];
  const jobs = job.files.flatMap((name, index) => [`--name=client${index}`, `--filename=${name}`]);
  return [...file, ...requests, ...client, ...time, ...clock, ...jobs];
}

/** Runs `command` to its end; its standard output. Throws with what it said when it fails or hangs. */
function capture(command: string[], timeoutMs: number, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { timeout: timeoutMs, killSignal: "SIGKILL", maxBuffer: OUTPUT_BYTES_MAX, signal } as const;
    execFile(command[0]!, command.slice(1), options, (error, out, complaints) => {
      if (signal.aborted) return;
      if (error === null) resolve(out);
      else reject(new Error(complaints.trim().split("\n")[0] || out.trim().split("\n")[0] || error.message));
    });
  });
}

/** Runs it. Throws when fio fails: the server answered an error, or not at all. */
export async function runFio(job: FioJob): Promise<FioResult> {
  const command = pinned(["fio", ...fioArguments(job)], job.pin);
  const text = await capture(command, (job.seconds ?? 0) * 1000 + HANG_TIMEOUT_MS, job.interrupted);
  const result = (JSON.parse(text.slice(text.indexOf("{"))) as FioOutput).jobs[0]!;
  if (result.error !== 0) throw new Error(`fio: error ${result.error} on ${job.files.join(" ")}`);
  const direction = job.rw.endsWith("read") ? result.read : result.write;
  const { mean, percentile } = direction.lat_ns;
  const latencyUs = job.depth === 1 ? { mean: mean / 1000, p99: (percentile?.["99.000000"] ?? 0) / 1000 } : null;
  return { operations: direction.total_ios, iops: direction.iops, latencyUs };
}
