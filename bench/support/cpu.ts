/** CPU time of processes, read from /proc. */
import { readdirSync, readFileSync } from "node:fs";

/** Ticks a second in /proc/PID/stat; fixed by the kernel's interface. */
export const TICKS_PER_SECOND = 100;
const TICK_US = 1_000_000 / TICKS_PER_SECOND;
/** User and system time are each rounded down to a tick. */
const TICKS_UNCERTAIN = 2;

export interface CpuReading {
  /** Nanoseconds on a CPU of all threads alive: fine, but an ended thread's time is gone. */
  threadNs: number;
  /** User and system ticks of the processes: coarse, but ended threads are in it. */
  ticks: number;
  processes: number;
}

/** A file of /proc, or empty when its process has just ended. */
function procFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function procEntries(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

/** The numbered fields of /proc/PID/stat behind the command's name: [0] is the state, [1] the parent. */
function statFields(pid: number): string[] {
  const stat = procFile(`/proc/${pid}/stat`);
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** `root` and all its descendants. */
export function processTree(root: number): number[] {
  const parents = new Map<number, number>();
  for (const entry of procEntries("/proc")) {
    if (/^\d+$/.test(entry)) parents.set(Number(entry), Number(statFields(Number(entry))[1]));
  }
  const tree = [root];
  for (const pid of tree) for (const [child, parent] of parents) if (parent === pid) tree.push(child);
  return tree;
}

const ticksOf = (fields: string[]): number => Number(fields[11] ?? 0) + Number(fields[12] ?? 0);

function threadNsOf(pid: number): number {
  let sum = 0;
  for (const thread of procEntries(`/proc/${pid}/task`)) {
    sum += Number(procFile(`/proc/${pid}/task/${thread}/schedstat`).split(" ")[0]);
  }
  return sum;
}

export function readCpu(pids: number[]): CpuReading {
  const reading: CpuReading = { threadNs: 0, ticks: 0, processes: pids.length };
  for (const pid of pids) {
    reading.threadNs += threadNsOf(pid);
    reading.ticks += ticksOf(statFields(pid));
  }
  return reading;
}

/** Microseconds of CPU between two readings. The threads' sum, unless the ticks prove that a thread ended meanwhile. */
export function cpuUsBetween(before: CpuReading, after: CpuReading): number {
  const byThreads = (after.threadNs - before.threadNs) / 1000;
  const byTicks = (after.ticks - before.ticks - TICKS_UNCERTAIN * after.processes) * TICK_US;
  return Math.max(byThreads, byTicks, 0);
}
