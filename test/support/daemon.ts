/**
 * A real hypegear for a test: `bin/hypegear mount --foreground` in a child process, ready when the promise resolves, and gone
 * without a trace when its scope ends, whatever state the test left it in.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import type { StatsDocument } from "../../src/stats/document.ts";
import { MARK } from "./marks.ts";
import { isHypegearMount, unmountLazily } from "./mounts.ts";
import { isAlive, kill, type ProcessEntry, processes } from "./processes.ts";
import { type Outcome, type RunOptions, run } from "./run.ts";
import { type Scope, testScope } from "./scope.ts";
import { scratchDirectory } from "./scratch.ts";
import { noteSlab, removeSlab } from "./slabs.ts";
import { waitFor } from "./wait.ts";

export interface DaemonOptions {
  /** Default: an empty scratch directory. */
  backing?: string;
  /** Default: an empty scratch directory. Give `backing` again to mount over it. */
  mountpoint?: string;
  /** Further options of `mount`. Without `--cache-size` it is 64M, and the journal 16M unless something of it is given. */
  args?: readonly string[];
  env?: Record<string, string>;
  scope?: Scope;
}

/** The launcher that users call. */
export const HYPEGEAR = fileURLToPath(new URL("../../bin/hypegear", import.meta.url));

/** Runs one CLI command to its end. */
export const hypegear = (args: readonly string[], options?: RunOptions): Promise<Outcome> =>
  run(HYPEGEAR, args, options);

/** Mounts and waits until the mount serves; rejects with everything it said when it ends before that. */
export async function mountHypegear(options: DaemonOptions = {}): Promise<Daemon> {
  const daemon = new Daemon(withPlaces(options));
  await daemon.ready();
  return daemon;
}

/** Mounts where that must fail: resolves with the exit code and the message. Rejects when the mount comes up. */
export async function refusedMount(options: DaemonOptions = {}): Promise<Outcome> {
  const daemon = new Daemon(withPlaces(options));
  const outcome = await Promise.race([daemon.ended, daemon.ready().catch(() => daemon.ended)]);
  if (outcome === undefined) throw new Error(`mount was to be refused, but it serves ${daemon.mountpoint}`);
  return outcome;
}

type Placed = DaemonOptions & { backing: string; mountpoint: string; scope: Scope };

function withPlaces(options: DaemonOptions): Placed {
  const scope = options.scope ?? testScope;
  const backing = options.backing ?? scratchDirectory("backing", scope);
  return { ...options, scope, backing, mountpoint: options.mountpoint ?? scratchDirectory("mount", scope) };
}

const LAST_WORDS_MS = 500;

let count = 0;

export class Daemon {
  readonly backing: string;
  readonly mountpoint: string;
  /** Resolves when the keeper has ended, with its exit code (-1: killed) and all that it and the engine said. */
  readonly ended: Promise<Outcome>;
  /** The directory of its slab; undefined before it serves, or without a cache. */
  slab: string | undefined;
  private readonly keeper: ChildProcess;
  private readonly said = { stdout: "", stderr: "" };
  /** In the environment of keeper and engine, so that an engine is found when its keeper is dead. */
  private readonly mark = `HYPEGEAR_TEST_DAEMON=${process.pid}.${++count}`;

  constructor({ backing, mountpoint, args = [], env = {}, scope }: Placed) {
    this.backing = backing;
    this.mountpoint = mountpoint;
    const given = (option: string): boolean => args.some((arg) => arg.startsWith(option));
    const size = given("--cache-size") ? [] : ["--cache-size", "64M"];
    const journal = given("--journal") ? [] : ["--journal-size", "16M"];
    const [name, value] = this.mark.split("=") as [string, string];
    this.keeper = spawn(HYPEGEAR, ["mount", backing, mountpoint, "--foreground", ...size, ...journal, ...args], {
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, ...MARK, [name]: value, ...env },
    });
    scope(() => this.destroy());
    for (const stream of ["stdout", "stderr"] as const) {
      this.keeper[stream]?.setEncoding("utf8").on("data", (text: string) => (this.said[stream] += text));
    }
    this.ended = new Promise((resolve, reject) => {
      this.keeper.on("error", reject);
      // An engine that outlives its keeper holds the pipes open: the keeper's last words come at once or never.
      this.keeper.on("exit", (code) => {
        const end = (): void => resolve({ code: code ?? -1, ...this.said });
        this.keeper.once("close", end);
        setTimeout(end, LAST_WORDS_MS);
      });
    });
    this.ended.catch(() => {}); // told by `ready`
  }

  get keeperPid(): number {
    return this.keeper.pid!;
  }

  /** Everything that keeper and engine wrote to standard error so far. */
  get log(): string {
    return this.said.stderr;
  }

  /** Resolves when the mount serves. */
  async ready(): Promise<void> {
    const dead = this.ended.then(({ code }) => `ended with exit code ${code}`);
    const serving = waitFor(
      `the mount on ${this.mountpoint}`,
      () => this.keeper.exitCode !== null || (/^ready/m.test(this.said.stdout) && isHypegearMount(this.mountpoint)),
    );
    const why = await Promise.race([dead, serving]);
    if (typeof why === "string") throw new Error(`hypegear mount ${why}\n${this.said.stdout}${this.said.stderr}`);
    this.slab = noteSlab(await this.enginePid());
  }

  /** The engine's process id, waiting for a new one while it is being replaced. */
  enginePid(): Promise<number> {
    return waitFor("an engine", () => this.family().find(isEngine)?.pid);
  }

  /** The mount's own figures, read through the mount. */
  stats(): StatsDocument {
    return JSON.parse(readFileSync(join(this.mountpoint, ".hypegear", "stats.json"), "utf8")) as StatsDocument;
  }

  /** `hypegear COMMAND MOUNTPOINT ARGS...` */
  cli(command: string, ...args: string[]): Promise<Outcome> {
    return hypegear([command, this.mountpoint, ...args]);
  }

  /** `hypegear umount`, and waits until the keeper is gone when that succeeded. */
  async umount(): Promise<Outcome> {
    const outcome = await this.cli("umount");
    if (outcome.code === 0) await this.ended;
    return outcome;
  }

  /** Kills, by pid; `both` kills the keeper first, so that it cannot start another engine. Resolves when they are gone. */
  async kill(who: "engine" | "keeper" | "both", signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
    const engines =
      who === "keeper"
        ? []
        : this.family()
            .filter(isEngine)
            .map(({ pid }) => pid);
    const victims = who === "engine" ? engines : [this.keeperPid, ...engines];
    for (const pid of victims) kill(pid, signal);
    await waitFor(`the end of ${who}`, () => victims.every((pid) => !isAlive(pid)));
  }

  /** Keeper, engine and whatever they started. */
  private family(): ProcessEntry[] {
    return processes().filter((entry) => entry.environment.includes(this.mark));
  }

  private async destroy(): Promise<void> {
    const leftBehind = this.keeper.exitCode === 0 && this.slab !== undefined && existsSync(this.slab);
    kill(this.keeperPid);
    await waitFor(`the end of the daemon on ${this.mountpoint}`, () => {
      const left = this.family();
      for (const { pid } of left) kill(pid);
      return left.length === 0;
    });
    await unmountLazily(this.mountpoint);
    if (this.slab !== undefined) await removeSlab(this.slab);
    if (leftBehind) throw new Error(`hypegear ended well, and left its slab ${this.slab}`);
  }
}

const isEngine = ({ command }: ProcessEntry): boolean => command.includes("engine/main.");
