/** The mount that is put to the test: a daemon of its own, that can be killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { ExitCode, Failure } from "../../base/errors.ts";
import { StateDirectory } from "../../keeper/state.ts";
import { readStats } from "../control.ts";

export const MAIN = fileURLToPath(new URL("../main.js", import.meta.url));
const POLL_MS = 20;
const LAST_WORDS_BYTES = 4096;

export class Subject {
  private readonly backing: string;
  private readonly mountpoint: string;
  private readonly options: readonly string[];
  private keeper: ChildProcess | undefined;
  private engine = 0;
  private said = "";
  private serves = false;
  private readonly states: StateDirectory;

  constructor(backing: string, mountpoint: string, options: readonly string[]) {
    this.backing = backing;
    this.mountpoint = mountpoint;
    this.options = options;
    this.states = new StateDirectory(backing);
  }

  /** Mounts; in a session of its own, so that a Ctrl-C at the terminal is for the check alone. */
  async mount(): Promise<void> {
    const args = [MAIN, "mount", this.backing, this.mountpoint, "--foreground", ...this.options];
    const keeper = spawn(process.execPath, args, { cwd: "/", detached: true, stdio: ["ignore", "pipe", "pipe"] });
    this.keeper = keeper;
    this.said = "";
    this.serves = false;
    keeper.stdout.on("data", (text: Buffer) => (this.serves ||= /^ready/m.test(String(text))));
    keeper.stderr.on("data", (text: Buffer) => (this.said = (this.said + String(text)).slice(-LAST_WORDS_BYTES)));
    while (!this.serves) {
      if (isOver(keeper)) throw new Failure(this.lastWords(), (keeper.exitCode ?? ExitCode.failed) as ExitCode);
      await sleep(POLL_MS);
    }
    this.engine = await this.enginePid();
  }

  /** The daemon's one line for people, which comes after its log; or the end of that. */
  private lastWords(): string {
    const lines = this.said.trim().split("\n");
    return lines.findLast((line) => line.startsWith("hypegear: "))?.slice(10) ?? lines.at(-1)!;
  }

  private async enginePid(): Promise<number> {
    return (await readStats(this.mountpoint)).engine.pid;
  }

  /** SIGKILLs the engine and waits until another serves. */
  async killEngine(): Promise<void> {
    const killed = this.engine;
    kill(killed);
    while (this.engine === killed) {
      if (this.keeper === undefined || isOver(this.keeper)) throw new Failure(`the keeper ended: ${this.lastWords()}`);
      await sleep(POLL_MS);
      this.engine = await this.enginePid();
    }
  }

  /** SIGKILLs keeper and engine, as far as there are any, and waits for their end: that of the lock that both hold. */
  async killAll(): Promise<void> {
    this.keeper?.kill("SIGSTOP"); // or it might start another engine while this looks for one
    for (const pid of enginesOf(this.backing)) kill(pid);
    this.keeper?.kill("SIGKILL");
    while ((this.keeper !== undefined && !isOver(this.keeper)) || this.states.isLocked()) await sleep(POLL_MS);
    this.forget();
  }

  /** The mount was unmounted: waits for the end. The exit code; undefined for a death. */
  async ended(): Promise<number | undefined> {
    while (this.keeper !== undefined && !isOver(this.keeper)) await sleep(POLL_MS);
    const code = this.keeper?.exitCode ?? undefined;
    this.forget();
    return code;
  }

  private forget(): void {
    for (const stream of [this.keeper?.stdout, this.keeper?.stderr]) stream?.destroy();
    this.keeper = undefined;
  }
}

const isOver = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null;

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It is gone.
  }
}

/** Engines that serve `backing`, a path that no other mount has. */
function enginesOf(backing: string): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => {
    const command = commandOf(pid);
    return command.includes("engine/main.js") && command.includes(JSON.stringify(backing));
  });
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8");
  } catch {
    return ""; // it is gone
  }
}
