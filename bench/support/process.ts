/** Server processes: started so that they cannot outlive the bench, stopped by their ids. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { processTree } from "./cpu.ts";

/** A peer that cannot run here; the message says why. Never fatal for the bench. */
export class Unavailable extends Error {
  override name = "Unavailable";
}

/** A server writes everything home before it ends: a slow disk may need this long. */
const STOP_TIMEOUT_MS = 60_000;
const READY_TIMEOUT_MS = 20_000;
const POLL_MS = 20;

export const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** `command` limited to CPU `pin`, if it is one. */
export const pinned = (command: string[], pin: number | null): string[] =>
  pin === null ? command : ["taskset", "--cpu-list", String(pin), ...command];

export interface ServerProcess {
  child: ChildProcess;
  pid: number;
  /** File with all that the server printed. */
  log: string;
}

/** Starts a server; the kernel sends it SIGTERM if the bench dies without cleaning up. */
export function startServer(command: string[], pin: number | null, log: string): ServerProcess {
  const args = ["--pdeathsig", "TERM", "--", ...pinned(command, pin)];
  const output = openSync(log, "w");
  try {
    const child = spawn("setpriv", args, { stdio: ["ignore", output, output] });
    child.on("error", () => undefined); // seen as a missing pid
    if (child.pid === undefined) throw new Unavailable("setpriv (util-linux) cannot be started");
    return { child, pid: child.pid, log };
  } finally {
    closeSync(output);
  }
}

const hasEnded = (child: ChildProcess): boolean => child.exitCode !== null || child.signalCode !== null;

/** What the server said of its end, on one line: the first line that complains, else its last. */
function lastWords(log: string): string {
  const lines = readFileSync(log, "utf8").trim().split("\n");
  return lines.find((line) => /error|fail|cannot/i.test(line)) ?? (lines.at(-1) || "it printed nothing");
}

/** Waits until `isReady`; throws Unavailable when the server ends first or takes too long. */
export async function untilReady(server: ServerProcess, isReady: () => boolean): Promise<void> {
  for (let waited = 0; !isReady(); waited += POLL_MS) {
    if (hasEnded(server.child)) throw new Unavailable(`it ended at once: ${lastWords(server.log)}`);
    if (waited > READY_TIMEOUT_MS) throw new Unavailable(`not ready in time: ${lastWords(server.log)}`);
    await sleep(POLL_MS);
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended meanwhile.
  }
}

/** SIGKILL to a server and its children; returns when it has ended. */
export async function killServer(server: ServerProcess): Promise<void> {
  for (const pid of processTree(server.pid)) signal(pid, "SIGKILL");
  while (!hasEnded(server.child)) await sleep(POLL_MS);
}

/** SIGTERM, then, for one that does not listen, SIGKILL to it and its children. */
export async function stopServer(server: ServerProcess): Promise<void> {
  if (hasEnded(server.child)) return;
  signal(server.pid, "SIGTERM");
  for (let waited = 0; !hasEnded(server.child) && waited < STOP_TIMEOUT_MS; waited += POLL_MS) await sleep(POLL_MS);
  if (hasEnded(server.child)) return;
  process.stderr.write(
    `bench: process ${server.pid} has not ended ${STOP_TIMEOUT_MS / 1000} s after SIGTERM: killed\n`,
  );
  await killServer(server);
}
