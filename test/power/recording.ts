/** One run of a workload on hypegear on a logged device: all that its crash states are made of, and judged by. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { appendFileSync, closeSync, mkdirSync, openSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { servingEngine } from "../mount/kills.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { MARK } from "../support/marks.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { killLine } from "./answers.ts";
import { type Entry, flushedEntries, readLog } from "./log.ts";
import { Notes } from "./notes.ts";
import { JOURNAL_ARGS } from "./recovery.ts";
import { copySparse, type Kind, LoggedFilesystem, makeFilesystem } from "./rig.ts";

/** Small and young, so that the background writer is at work beside the flushes. */
export const MOUNT_ARGS = ["--cache-size", "8M", "--dirty-limit", "10%", "--max-age", "1s", ...JOURNAL_ARGS] as const;

export interface Recording {
  kind: Kind;
  /** The filesystem before the workload, and the log since: paths. */
  base: string;
  log: string;
  notesFile: string;
  entries: readonly Entry[];
  notes: Notes;
}

/** Reads one that was kept in `directory`. */
export function openRecording(directory: string, kind: Kind): Recording {
  const [base, log, notesFile] = FILES.map((name) => join(directory, name)) as [string, string, string];
  return { kind, base, log, notesFile, entries: readLog(log), notes: Notes.read(notesFile) };
}

const FILES = ["base", "log", "notes"] as const;

/** Copies a recording to `directory`, for a rerun. */
export async function keepRecording({ base, log, notesFile }: Recording, directory: string): Promise<void> {
  mkdirSync(directory, { recursive: true });
  await Promise.all([base, log, notesFile].map((file, i) => copySparse(file, join(directory, FILES[i]!))));
}

/** What is recorded. */
export interface Script {
  /** Options of `mount`. */
  args: readonly string[];
  /** Makes what is to be in the directory of images before hypegear is; no cut comes before that. */
  prepare?(images: string): Promise<void> | void;
  /** Starts the workload. `log` and `notes`: paths. */
  start(daemon: Daemon, log: string, notes: string): Promise<Workload>;
  /** How often the engine is killed, and how many milliseconds after it serves. */
  kills: number;
  killAfterMs: number;
}

/** Runs `script`; the engine is killed meanwhile. Files go into `place`. */
export async function record(kind: Kind, script: Script, place: string): Promise<Recording> {
  await makeFilesystem(kind, join(place, "base"));
  const filesystem = await LoggedFilesystem.make(join(place, "base"), kind, place);
  const backing = join(filesystem.directory, "images");
  const notes = join(place, "notes");
  mkdirSync(backing);
  if (script.prepare !== undefined) {
    await script.prepare(backing);
    await succeed("sync", ["--file-system", backing]);
    appendFileSync(notes, `B ${entriesIn(filesystem.log)}\n`);
  }
  const daemon = await mountHypegear({ backing, args: script.args });
  const workload = await script.start(daemon, filesystem.log, notes);
  for (let kills = 0, dead = 0; kills < script.kills; kills++) {
    dead = await servingEngine(daemon, dead);
    await Promise.race([sleep(script.killAfterMs), workload.ended]);
    appendFileSync(notes, killLine());
    await daemon.kill("engine");
  }
  const errors = await workload.ended;
  if (errors !== "") throw new Error(`the workload met errors:\n${errors}`);
  const { code, stderr } = await daemon.umount();
  if (code !== 0) throw new Error(`hypegear umount: exit code ${code}\n${stderr}`);
  await filesystem.stop();
  return openRecording(place, kind);
}

function entriesIn(log: string): number {
  const fd = openSync(log, "r");
  try {
    return flushedEntries(fd);
  } finally {
    closeSync(fd);
  }
}

export interface Workload {
  /** Resolves with the errors that its actors met, one a line. Rejects when it crashed. */
  ended: Promise<string>;
}

/** Programs that write stamps; all take ROOT LOG NOTES SEED and how long: in steps, or in milliseconds. */
const PROGRAMS = {
  workload: fileURLToPath(new URL("../../dist/test/power/workload.js", import.meta.url)),
  lockstep: fileURLToPath(new URL("../../dist/test/power/lockstep.js", import.meta.url)),
  growing: fileURLToPath(new URL("../../dist/test/power/growing.js", import.meta.url)),
} as const;

/** Starts a program on `root`; resolves when its first promise was given. `log`: of the device below, or `-`. */
export async function startWorkload(
  program: keyof typeof PROGRAMS,
  root: string,
  log: string,
  notes: string,
  seed: number,
  length: number,
): Promise<Workload> {
  const child = spawn(process.execPath, [PROGRAMS[program], root, log, notes, String(seed), String(length)], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...MARK, UV_THREADPOOL_SIZE: "8" },
  });
  const exit = once(child, "exit");
  testScope(async () => {
    child.kill("SIGKILL");
    await exit;
  });
  const said = { stdout: "", stderr: "" };
  for (const stream of ["stdout", "stderr"] as const) {
    child[stream].setEncoding("utf8").on("data", (text: string) => (said[stream] += text));
  }
  const ended = once(child, "close").then(() => {
    if (child.exitCode !== 0) throw new Error(`the workload ended with ${child.exitCode}\n${said.stderr}`);
    return said.stdout.replace("promised\n", "");
  });
  await Promise.race([once(child.stdout, "data"), ended]);
  return { ended };
}
