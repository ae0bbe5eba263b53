/** Talking with a mount through its `.hypegear` directory. */

import { realpathSync } from "node:fs";
import { type FileHandle, open, readFile } from "node:fs/promises";
import { resolve } from "node:path";
import { ExitCode, Failure } from "../base/errors.ts";
import { isOurs } from "../fuse/mount.ts";
import type { StatsDocument } from "../stats/document.ts";
import { type MountEntry, mountTable, topMount } from "../sys/mount-table.ts";

const ANSWER_BYTES_MAX = 64 * 1024;

/** The mount of this program at `path`. Throws a `Failure` when there is none. */
export function findMount(path: string): MountEntry {
  const absolute = resolve(path);
  const entry = topMount(absolute) ?? topMount(realOr(absolute));
  if (isOurs(entry)) return entry;
  const elsewhere = mountTable().findLast((other) => isOurs(other) && other.source === realOr(absolute));
  if (elsewhere !== undefined)
    throw new Failure(`${path}: not the mountpoint; it is mounted at ${elsewhere.path}, give that`);
  throw new Failure(`${path}: not a hypegear mount; give the directory that hypegear mount was given as MOUNTPOINT`);
}

/** Sends one command to the mount at `path`; resolves to what the answer says after `ok` when it was carried out. */
export async function command(path: string, line: string): Promise<string> {
  const { path: mountpoint } = findMount(path);
  const answer = await converse(mountpoint, line);
  if (/^ok\b/.test(answer)) return answer.slice(3);
  const [, code, message] = /^error ([1-4]) (.*)$/s.exec(answer) ?? [];
  const what = `${mountpoint}: ${message ?? `${line}: the engine answered "${answer}"; see its log`}`;
  throw new Failure(what, code === undefined ? ExitCode.failed : (Number(code) as ExitCode));
}

/** The text of one of the files in `.hypegear`. */
export async function controlFile(path: string, name: "stats" | "stats.json"): Promise<string> {
  const { path: mountpoint } = findMount(path);
  try {
    return await readFile(`${mountpoint}/.hypegear/${name}`, "utf8");
  } catch (error) {
    throw unreachable(mountpoint, name, error);
  }
}

/** `stats.json`, read. */
export const readStats = async (path: string): Promise<StatsDocument> =>
  JSON.parse(await controlFile(path, "stats.json")) as StatsDocument;

/** A failed command fails the write too, but its answer says more: it is read in both cases. */
async function converse(mountpoint: string, line: string): Promise<string> {
  let file: FileHandle | undefined;
  try {
    file = await open(`${mountpoint}/.hypegear/control`, "r+");
    const written = await file.write(`${line}\n`).catch((error: unknown) => error);
    const { bytesRead, buffer } = await file.read(Buffer.alloc(ANSWER_BYTES_MAX), 0, ANSWER_BYTES_MAX);
    if (bytesRead > 0) return buffer.toString("utf8", 0, bytesRead).trimEnd();
    throw written instanceof Error ? written : new Error("no answer");
  } catch (error) {
    throw unreachable(mountpoint, "control", error);
  } finally {
    await file?.close().catch(() => undefined); // the mount may be gone by now
  }
}

function unreachable(mountpoint: string, name: string, error: unknown): Failure {
  const code = (error as NodeJS.ErrnoException).code ?? (error as Error).message;
  const what = `${mountpoint}/.hypegear/${name}`;
  if (code === "EACCES" || code === "EPERM") {
    const todo = "run as the user who mounted it, or as root";
    return new Failure(`${what}: permission denied (${code}); ${todo}`, ExitCode.forbidden, error);
  }
  if (code === "ENOTCONN" || code === "ECONNABORTED") {
    const todo = `hypegear umount ${mountpoint}, then mount again: the slab keeps all writes`;
    return new Failure(`${mountpoint}: its daemon is dead (${code}); ${todo}`, ExitCode.failed, error);
  }
  return new Failure(`${what}: ${code}; see the mount's log`, ExitCode.failed, error);
}

function realOr(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return path;
  }
}
