/** Processes by pid, as /proc tells them. Nothing here goes by a program's name alone. */
import { readdirSync, readFileSync } from "node:fs";

export interface ProcessEntry {
  pid: number;
  parent: number;
  /** Arguments, separated by blanks. */
  command: string;
  /** `NAME=value` strings; empty when they may not be read. */
  environment: string[];
}

/** All processes but zombies and kernel threads. */
export function processes(): ProcessEntry[] {
  const found = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .map((name) => describeProcess(Number(name)));
  return found.filter((entry) => entry !== undefined);
}

/**
 * True while `pid` runs, or one of its threads does: what is killed has its files open until the last of them ends, when its command line
 * has long been gone. A zombie does not.
 */
export function isAlive(pid: number): boolean {
  const stat = read(pid, "stat");
  const [state] = stat.slice(stat.lastIndexOf(")") + 2);
  return stat !== "" && (!"ZX".includes(state!) || threadsOf(pid) > 1);
}

function threadsOf(pid: number): number {
  try {
    return readdirSync(`/proc/${pid}/task`).length;
  } catch {
    return 0;
  }
}

/** Sends `signal`; a process that is gone already is no error. */
export function kill(pid: number, signal: NodeJS.Signals = "SIGKILL"): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}

function describeProcess(pid: number): ProcessEntry | undefined {
  const command = read(pid, "cmdline");
  const stat = read(pid, "stat");
  if (command === "" || stat === "") return undefined;
  const [, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return {
    pid,
    parent: Number(parent),
    command: command.split("\0").join(" ").trimEnd(),
    environment: read(pid, "environ").split("\0"),
  };
}

/** Empty when the process is gone, a zombie, or not ours to look into. */
function read(pid: number, file: string): string {
  try {
    return readFileSync(`/proc/${pid}/${file}`, "latin1");
  } catch {
    return "";
  }
}
