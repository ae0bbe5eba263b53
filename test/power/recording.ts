/** One run of a workload on hypegear on a logged device: all that its crash states are made of, and judged by. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { mountHypegear } from "../support/daemon.ts";
import { MARK } from "../support/marks.ts";
import { testScope } from "../support/scope.ts";
import { type Entry, readLog } from "./log.ts";
import { Notes } from "./notes.ts";
import { copySparse, type Kind, LoggedFilesystem, makeFilesystem } from "./rig.ts";

const WORKLOAD = fileURLToPath(new URL("../../dist/test/power/workload.js", import.meta.url));
/** Small and young, so that the background writer is at work beside the flushes. */
export const MOUNT_ARGS = ["--cache-size", "8M", "--dirty-limit", "10%", "--max-age", "1s"] as const;
const KILL_AFTER_MS = 700;

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

/** Runs the workload of `seed` for about `steps` steps; the engine is killed once meanwhile. Files go into `place`. */
export async function record(kind: Kind, seed: number, steps: number, place: string): Promise<Recording> {
  await makeFilesystem(kind, join(place, "base"));
  const filesystem = await LoggedFilesystem.make(join(place, "base"), kind, place);
  const backing = join(filesystem.directory, "images");
  mkdirSync(backing);
  const daemon = await mountHypegear({ backing, args: MOUNT_ARGS });
  const workload = await startWorkload(daemon.mountpoint, filesystem.log, join(place, "notes"), seed, steps);
  await Promise.race([sleep(KILL_AFTER_MS), workload.ended]);
  await daemon.kill("engine");
  const errors = await workload.ended;
  if (errors !== "") throw new Error(`the workload met errors:\n${errors}`);
  const { code, stderr } = await daemon.umount();
  if (code !== 0) throw new Error(`hypegear umount: exit code ${code}\n${stderr}`);
  await filesystem.stop();
  return openRecording(place, kind);
}

export interface Workload {
  /** Resolves with the errors that its actors met, one a line. Rejects when it crashed. */
  ended: Promise<string>;
}

/** Starts a workload on `root`; resolves when its first promise was given. `log`: of the device below, or `-`. */
export async function startWorkload(
  root: string,
  log: string,
  notes: string,
  seed: number,
  steps: number,
): Promise<Workload> {
  const child = spawn(process.execPath, [WORKLOAD, root, log, notes, String(seed), String(steps)], {
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
