/** A real keeper with a stub for an engine: what the keeper does when engines die, refuse, or leave data behind. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { expect } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import type { KeeperConfig, Report } from "../../src/keeper/config.ts";
import { directoryId, openBacking } from "../../src/keeper/directories.ts";
import { slabPath } from "../../src/keeper/slab-file.ts";
import type { State } from "../../src/keeper/state.ts";
import { MARK } from "../support/marks.ts";
import { mounts, unmountLazily } from "../support/mounts.ts";
import { isAlive, kill } from "../support/processes.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";
import { waitFor } from "../support/wait.ts";

const built = (path: string): string => fileURLToPath(new URL(`../../dist/${path}`, import.meta.url));

export interface Places {
  backing: string;
  mountpoint: string;
  /** The file that tells the stub how to behave. */
  behaviour: string;
}

/** Directories for one test; mounts, slab and the stub's engines are gone when it ends. */
export function places(overItself = false): Places {
  const behaviour = join(scratchDirectory("behaviour"), "engine");
  const backing = scratchDirectory("backing");
  const mountpoint = overItself ? backing : scratchDirectory("mount");
  const slab = dirname(slabOf(backing));
  testScope(async () => {
    await unmountLazily(mountpoint);
    await removeSlab(slab);
  });
  return { backing, mountpoint, behaviour };
}

/** The slab's path for `backing`, which must not be over-mounted when this is asked. */
export function slabOf(backing: string): string {
  const fd = openBacking(backing);
  try {
    return slabPath(directoryId(fd));
  } finally {
    closeSync(fd);
  }
}

export const readState = (backing: string): State =>
  JSON.parse(readFileSync(join(backing, ".hypegear/state.json"), "utf8")) as State;

/** What the stub wrote, a line an event. */
export const events = ({ behaviour }: Places): string[] =>
  existsSync(`${behaviour}.log`) ? readFileSync(`${behaviour}.log`, "utf8").trim().split("\n") : [];

/** What a mount leaves behind: nothing, when all is well. */
export function leftovers({ backing, mountpoint }: Places): string[] {
  const mounted = mounts().some((entry) => entry.mountpoint === mountpoint);
  const paths = [join(backing, ".hypegear"), dirname(slabOf(backing))].filter(existsSync);
  return mounted ? [`mount on ${mountpoint}`, ...paths] : paths;
}

export interface Started {
  report: Report | undefined;
  keeper: ChildProcess;
  /** The exit code, -1 for a signal. */
  ended: Promise<number>;
  logFile: string;
}

/** Starts a keeper, by the command `within` if given, and waits for its report. */
export async function startKeeper(
  at: Places,
  behaviour: string,
  changes: Partial<KeeperConfig> = {},
  within: string[] = [],
  engine: Partial<KeeperConfig["engine"]> = {},
  settings: Partial<KeeperConfig["engine"]["settings"]> = {},
): Promise<Started> {
  writeFileSync(at.behaviour, behaviour);
  const logFile = `${at.behaviour}.keeper.log`;
  const config: KeeperConfig = {
    backing: at.backing,
    mountpoint: at.mountpoint,
    cacheBytes: 8 * 2 ** 20,
    journal: "",
    journalBytes: 16 * 2 ** 20,
    allowOther: false,
    noexec: false,
    force: false,
    engineScript: built("test/keeper/stub-engine.js"),
    engine: {
      cache: true,
      io: "auto",
      showControl: false,
      logFile,
      version: at.behaviour,
      settings: { ...SETTINGS, ...settings },
      ...engine,
    },
    ...changes,
  };
  const [command, ...args] = [...within, process.execPath, built("src/keeper/main.js"), JSON.stringify(config)];
  const keeper = spawn(command, args, {
    stdio: ["ignore", "inherit", "inherit", "pipe"],
    env: { ...process.env, ...MARK },
  });
  const ended = new Promise<number>((resolve) => keeper.once("exit", (code) => resolve(code ?? -1)));
  testScope(() => destroy(keeper, at));
  let text = "";
  for await (const piece of (keeper.stdio as unknown as Readable[])[3]!) text += String(piece);
  const last = text.trimEnd().split("\n").at(-1)!; // before it comes how far a recovery is
  return { report: last === "" ? undefined : (JSON.parse(last) as Report), keeper, ended, logFile };
}

const SETTINGS = {
  durability: "sync",
  lossWindow: 5,
  device: "auto",
  dirtyLimit: 0.8,
  rateLimit: 0,
  maxAge: 0,
  logLevel: "debug",
} as const;

/** Process ids of the stub engines that serve `at`. */
export const enginePids = (at: Places): number[] =>
  [
    ...new Set(
      events(at)
        .flatMap((line) => /pid (\d+)/.exec(line)?.[1] ?? [])
        .map(Number),
    ),
  ].filter(isAlive);

/** Kills keeper and engine, as the end of their cgroup would. */
export async function killBoth(started: Started, at: Places): Promise<void> {
  started.keeper.kill("SIGKILL");
  await started.ended;
  for (const pid of enginePids(at)) kill(pid);
  await waitFor("the engine's end", () => enginePids(at).length === 0);
}

/** Ends a mount that serves, and expects that nothing is left of it. */
export async function stopped(at: Places, started: Started): Promise<void> {
  started.keeper.kill("SIGTERM");
  expect(await started.ended).toBe(ExitCode.done);
  expect(leftovers(at)).toEqual([]);
}

/** Makes the state one of another boot, whose slab and mount went with the power. */
export async function cutPower(at: Places): Promise<void> {
  await unmountLazily(at.mountpoint);
  await removeSlab(dirname(slabOf(at.backing)));
  writeState(at.backing, { bootId: "before" });
}

/** At once, as the program does: somebody may be reading it. */
export function writeState(backing: string, changes: Partial<State>): void {
  const path = join(backing, ".hypegear/state.json");
  writeFileSync(`${path}.new`, JSON.stringify({ ...readState(backing), ...changes }));
  renameSync(`${path}.new`, path);
}

async function destroy(keeper: ChildProcess, at: Places): Promise<void> {
  keeper.kill("SIGKILL");
  for (const pid of enginePids(at)) kill(pid);
  await waitFor("the stub engines' end", () => enginePids(at).length === 0);
}
