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

/** True while `pid` runs; a zombie does not. */
export const isAlive = (pid: number): boolean => describeProcess(pid) !== undefined;

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
