/**
 * The two directories of a mount, checked: they exist, may be used, and neither lies inside the other. A dead mount of ours stays
 * where it is while we look, and for good when we refuse: over BACKING itself it keeps guests from writing past the cache.
 */
import { closeSync, fstatSync, openSync, readFileSync, readlinkSync, realpathSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { deadMounts, detachStale, isOurs } from "../fuse/mount.ts";
import { openBeneath } from "../sys/beneath.ts";
import { O } from "../sys/constants.ts";
import { type MountEntry, mountTable, topMount } from "../sys/mount-table.ts";
import { StateDirectory } from "./state.ts";

export interface Directories {
  backing: string;
  mountpoint: string;
}

/**
 * Resolves and checks both directories. `slab` says where the slab of a
 * backing directory would lie, `logFile` and `journal` may be empty. Throws a `Failure`.
 */
export function checkDirectories(
  backing: string,
  mountpoint: string,
  logFile: string,
  journal: string,
  slab: (directory: string) => string,
): Directories {
  if (process.getuid!() !== 0) detachStale(resolve(backing)); // only root can look beneath it
  const found = { backing: realDirectory(backing, "BACKING"), mountpoint: realDirectory(mountpoint, "MOUNTPOINT") };
  refuseIfMounted(found.backing);
  refuseIfMounted(found.mountpoint);
  refuseNesting(found);
  refuseOverlap(found.backing);
  const fd = openBacking(found.backing);
  try {
    refuseInside(found, slab(directoryId(fd)), "the slab", "mount another directory");
  } finally {
    closeSync(fd);
  }
  if (logFile !== "") refuseInside(found, realpathOfNew(logFile), "the log file", "give a --log-file elsewhere");
  if (journal !== "") refuseInside(found, realpathOfNew(journal), "the journal", "give a --journal elsewhere");
  return found;
}

/** The real path of a backing directory that nothing living of ours is mounted over. Throws a `Failure`. */
export function checkBacking(path: string): string {
  const backing = realDirectory(path, "BACKING");
  refuseIfMounted(backing);
  return backing;
}

/** Opens the backing directory, also beneath a dead mount; its descriptor reaches it even when the mount lies over it. Throws a `Failure`. */
export function openBacking(path: string): number {
  const dead = deadMounts(path);
  if (dead > 0) {
    const fd = openBeneath(path, dead);
    if (fd < 0) throw underDead(path, fd);
    return fd;
  }
  try {
    return openSync(path, O.RDONLY | O.DIRECTORY | O.CLOEXEC);
  } catch (error) {
    throw unusable(path, "BACKING", error);
  }
}

/**
 * Where dead mounts of `backing` lie on top, but for `own`: a keeper that asks its own mount could wait for an engine that only it can
 * start again. Call it when nobody serves `backing`, or has its lock.
 */
export function deadMountsOf(backing: string, own?: string): string[] {
  const paths = mountTable().flatMap((entry) => (isOurs(entry) && entry.source === backing ? [entry.path] : []));
  return [...new Set(paths)].filter((path) => path !== own && deadMounts(path) > 0);
}

/** Device and inode number of an open directory, which tell it from a copy. */
export function directoryId(fd: number): string {
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return `${dev}:${ino}`;
}

/** True if `path` is `directory` or lies below it. */
export const isWithin = (path: string, directory: string): boolean =>
  path === directory || path.startsWith(directory.endsWith("/") ? directory : `${directory}/`);

function underDead(path: string, result: number): Failure {
  const todo = `hypegear mount ${path} carries on with its slab; hypegear umount ${path} takes the dead mount away`;
  return new Failure(
    `${path}: a dead mount lies over it, and what is beneath cannot be seen (${errnoName(result)}); run as root, or ${todo}`,
    result === -E.EPERM ? ExitCode.forbidden : ExitCode.failed,
  );
}

function realDirectory(path: string, role: string): string {
  let real: string;
  try {
    real = realpathSync.native(path);
    if (deadMounts(real) > 0 || statSync(real).isDirectory()) return real;
  } catch (error) {
    throw unusable(path, role, error);
  }
  throw new Failure(`${real}: not a directory; ${role} must be one`);
}

function unusable(path: string, role: string, error: unknown): Failure {
  const code = (error as NodeJS.ErrnoException).code ?? String(error);
  if (code === "ENOENT")
    return new Failure(`${path}: does not exist; give an existing directory as ${role}`, ExitCode.failed, error);
  if (code === "ENOTDIR") return new Failure(`${path}: not a directory; ${role} must be one`, ExitCode.failed, error);
  if (code === "EACCES" || code === "EPERM") {
    const todo = "run as its owner or as root";
    return new Failure(
      `${path}: may not be used as ${role}: permission denied (${code}); ${todo}`,
      ExitCode.forbidden,
      error,
    );
  }
  return new Failure(
    `${path}: cannot be used as ${role} (${code}); check the filesystem below it`,
    ExitCode.failed,
    error,
  );
}

/** Throws a `Failure` if a living mount of this program lies on top at `path`. */
export function refuseIfMounted(path: string): void {
  const entry = topMount(path);
  if (isOurs(entry) && deadMounts(path) === 0) throw alreadyMounted(entry, keeperBehind(path));
}

export function alreadyMounted({ path, source }: MountEntry, keeper?: number): Failure {
  const by = keeper === undefined ? "" : ` (keeper pid ${keeper})`;
  const todo = `unmount it first: hypegear umount ${path}`;
  return new Failure(`${path}: already mounted by hypegear, from ${source}${by}; ${todo}`, ExitCode.refused);
}

/**
 * The keeper of a live mount: its engine's parent, unless that runs another program, as who adopts an orphan. The mount hides the state
 * file when it lies over its own directory.
 */
export function keeperBehind(mountpoint: string): number | undefined {
  try {
    const stats = JSON.parse(readFileSync(`${mountpoint}/.hypegear/stats.json`, "utf8")) as { engine: { pid: number } };
    const stat = readFileSync(`/proc/${stats.engine.pid}/stat`, "latin1");
    const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
    const programOf = (pid: number): string => readlinkSync(`/proc/${pid}/exe`);
    return programOf(parent) === programOf(stats.engine.pid) ? parent : undefined;
  } catch {
    return undefined; // another user's mount, or an engine that is just being restarted
  }
}

function refuseNesting({ backing, mountpoint }: Directories): void {
  if (backing === mountpoint) return;
  const todo = "mount elsewhere, or over BACKING itself";
  if (isWithin(mountpoint, backing)) {
    throw new Failure(
      `${mountpoint}: lies inside BACKING ${backing}, which would then contain its own mount; ${todo}`,
      ExitCode.refused,
    );
  }
  if (isWithin(backing, mountpoint)) {
    throw new Failure(
      `${mountpoint}: contains BACKING ${backing}, which the mount would hide; ${todo}`,
      ExitCode.refused,
    );
  }
}

/**
 * Refuses a backing directory that contains that of another mount, or lies in it: both caches would hold the same images. A mount
 * that this namespace does not show is known by the lock above. Throws a `Failure`.
 */
export function refuseOverlap(backing: string): void {
  const refuse = (how: string, other: string, todo: string): Failure =>
    new Failure(`${backing}: ${how} ${other}, which hypegear has mounted; ${todo}`, ExitCode.refused);
  for (const { path, source } of mountTable().filter(isOurs)) {
    const todo = `use that mount, or unmount it first: hypegear umount ${path}`;
    if (source === backing) continue; // the directory's own: refused by mountpoint or lock
    if (isWithin(backing, source)) throw refuse("lies in", source, todo);
    if (isWithin(source, backing)) throw refuse("contains", source, todo);
  }
  for (let above = backing; above !== dirname(above); ) {
    above = dirname(above);
    if (new StateDirectory(above).isLocked()) throw refuse("lies in", above, "unmount that first");
  }
}

function refuseInside({ backing, mountpoint }: Directories, path: string, what: string, todo: string): void {
  const outer = isWithin(path, mountpoint) ? mountpoint : isWithin(path, backing) ? backing : undefined;
  if (outer === undefined) return;
  throw new Failure(`${path}: ${what} would lie inside ${outer}, and so wait for itself; ${todo}`, ExitCode.refused);
}

/** The real path of a file that need not exist yet. */
export function realpathOfNew(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return resolve(realpathOr(dirname(path)), path.slice(path.lastIndexOf("/") + 1));
  }
}

function realpathOr(path: string): string {
  try {
    return realpathSync.native(path);
  } catch {
    return resolve(path); // opening the log will say what is wrong
  }
}
