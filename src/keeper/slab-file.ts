/**
 * Where the slab lies: `/dev/shm/hypegear-<hash of the backing directory>/slab`. As root a tmpfs of our own with huge pages, which is
 * not swapped out, is mounted on that directory, because landing payloads in place loses on ordinary pages; else it is a plain directory.
 */
import { createHash } from "node:crypto";
import {
  closeSync,
  fstatSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmdirSync,
  rmSync,
  type Stats,
  statfsSync,
} from "node:fs";
import { dirname } from "node:path";
import { errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { INODES_MAX, MEMORY_SPARE_BYTES } from "../base/limits.ts";
import { formatSize } from "../base/size.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { createSlab, INODE_BYTES, readSuperblock, slabBytes } from "../cache/slab.ts";
import { O } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { topMount } from "../sys/mount-table.ts";

const SHARED_MEMORY = "/dev/shm";
const TMPFS_FLAGS = 2 | 4 | 8; // nosuid, nodev, noexec
const MNT_DETACH = 2;
const HUGE = "huge=always";
/** Since Linux 6.4. A guest's write does not wait for swap then, nor does its data lie there. */
const NO_SWAP = "noswap";
/** Tried in this order. */
const TMPFS_WISHES = [[HUGE, NO_SWAP], [HUGE], [NO_SWAP], []];

/** The slab's path for the backing directory `directory` (`device:inode`). */
export const slabPath = (directory: string): string =>
  `${SHARED_MEMORY}/hypegear-${createHash("sha256").update(directory).digest("hex").slice(0, 16)}/slab`;

/**
 * Makes a slab for `cacheBytes` of frames and returns its descriptor. `note` is told what memory it got. Throws a `Failure`
 * when memory is short; then nothing is left.
 */
export function createSlabFile(
  path: string,
  cacheBytes: number,
  identity: string,
  note: (text: string) => void,
): number {
  checkRoom(cacheBytes);
  const directory = dirname(path);
  makeOwnDirectory(directory);
  try {
    if (process.getuid!() === 0) note(mountOwn(directory, slabBytes(cacheBytes)));
    const fd = openSync(path, O.RDWR | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC, 0o600);
    createSlab(fd, cacheBytes, identity);
    return fd;
  } catch (error) {
    removeSlabFile(path);
    throw error;
  }
}

export interface FoundSlab {
  fd: number;
  cacheBytes: number;
  identity: string;
}

/** Opens the slab at `path`; undefined when none is there. Throws a `Failure` for one that is damaged, of another version, or not ours. */
export function openSlabFile(path: string): FoundSlab | undefined {
  const fd = openOwnFile(path);
  if (fd === undefined) return undefined;
  try {
    const { frames, identity } = readSuperblock(fd);
    return { fd, cacheBytes: frames * BLOCK_BYTES, identity };
  } catch (error) {
    closeSync(fd);
    throw error;
  }
}

/** Removes the slab, its tmpfs and its directory, as far as they exist and are ours. */
export function removeSlabFile(path: string): void {
  const directory = dirname(path);
  if (!isOwnDirectory(directory)) return;
  rmSync(path, { force: true });
  if (topMount(directory)?.source === "hypegear") libc.umount2(Buffer.from(`${directory}\0`), MNT_DETACH);
  try {
    rmdirSync(directory);
  } catch {
    // Not empty: somebody put more there.
  }
}

/** Refuses a slab that would fill shared memory or push the host into swapping or killing. */
function checkRoom(cacheBytes: number): void {
  const wanted = slabBytes(cacheBytes);
  const room = sharedMemoryRoom();
  if (room < wanted) {
    const todo = `give a smaller --cache-size, or enlarge it: mount -o remount,size=${formatSize(wanted * 2)} ${SHARED_MEMORY}`;
    throw new Failure(
      `${SHARED_MEMORY}: ${formatSize(room)} free, a cache of ${formatSize(cacheBytes)} needs ${formatSize(wanted)}; ${todo}`,
    );
  }
  const available = memoryAvailable();
  if (available >= wanted + MEMORY_SPARE_BYTES) return;
  const needs = `a cache of ${formatSize(cacheBytes)} needs ${formatSize(wanted + MEMORY_SPARE_BYTES)}`;
  throw new Failure(`memory: ${formatSize(available)} available, ${needs}; give a smaller --cache-size`);
}

function sharedMemoryRoom(): number {
  try {
    const { bavail, bsize } = statfsSync(SHARED_MEMORY);
    return bavail * bsize;
  } catch (error) {
    throw new Failure(`${SHARED_MEMORY}: cannot be used; mount a tmpfs there`, ExitCode.failed, error);
  }
}

/** MemAvailable, bytes. */
function memoryAvailable(): number {
  const line = /^MemAvailable:\s+(\d+) kB/m.exec(readFileSync("/proc/meminfo", "latin1"));
  return line === null ? Number.POSITIVE_INFINITY : Number(line[1]) * 1024;
}

/** /dev/shm is open to all: a directory that another user made under our name is not used. */
function makeOwnDirectory(directory: string): void {
  try {
    mkdirSync(directory, 0o700);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    if (code !== "EEXIST")
      throw new Failure(`${directory}: cannot be made (${code}); check ${SHARED_MEMORY}`, ExitCode.failed, error);
    if (!isOwnDirectory(directory)) throw somebodyElses(directory);
  }
}

function isOwnDirectory(directory: string): boolean {
  const found = lstatSync(directory, { throwIfNoEntry: false });
  return found !== undefined && found.isDirectory() && isOwn(found);
}

/** Nobody else can change it. */
const isOwn = ({ uid, mode }: Stats): boolean => uid === process.getuid!() && (mode & 0o077) === 0;

/**
 * Undefined: it is not there. 1. another user makes the directory first 2. puts a link in it 3. root follows that to a file of its
 * own, and opens it for writing: so neither is used unless it is ours, and what was opened is what was looked at.
 */
function openOwnFile(path: string): number | undefined {
  const directory = dirname(path);
  if (lstatSync(directory, { throwIfNoEntry: false }) === undefined) return undefined;
  if (!isOwnDirectory(directory)) throw somebodyElses(directory);
  let fd: number;
  try {
    fd = openSync(path, O.RDWR | O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC);
  } catch (error) {
    const { code = "" } = error as NodeJS.ErrnoException;
    if (code === "ENOENT") return undefined;
    throw ["ELOOP", "EISDIR", "ENXIO"].includes(code) ? noSlab(path, error) : error;
  }
  const found = fstatSync(fd);
  if (found.isFile() && isOwn(found)) return fd;
  closeSync(fd);
  throw noSlab(path);
}

function somebodyElses(directory: string): Failure {
  const todo = "run as its owner if it is a slab, else remove it";
  return new Failure(
    `${directory}: exists, and is no directory that only this user may use; ${todo}`,
    ExitCode.refused,
  );
}

const noSlab = (path: string, cause?: unknown): Failure =>
  new Failure(
    `${path}: is no regular file that only this user may use, so no slab; remove it`,
    ExitCode.refused,
    cause,
  );

/** Mounts a tmpfs with the best that the host has, or none (a container may not mount); says which. */
function mountOwn(directory: string, bytes: number): string {
  const size = bytes + INODES_MAX * INODE_BYTES + MEMORY_SPARE_BYTES;
  let result = 0;
  for (const wishes of TMPFS_WISHES) {
    result = mountTmpfs(directory, [`mode=0700,size=${size}`, ...wishes].join());
    if (result !== 0) continue;
    const pages = wishes.includes(HUGE)
      ? "slab on huge pages"
      : "no huge pages for the slab: large writes will be slower";
    return wishes.includes(NO_SWAP) ? pages : `${pages}; the host may swap it out`;
  }
  return `no tmpfs of its own for the slab (${errnoName(result)}): it lies in ${SHARED_MEMORY} itself, without huge pages, and the host may swap it out`;
}

const mountTmpfs = (directory: string, options: string): number =>
  libc.mount(
    Buffer.from("hypegear\0"),
    Buffer.from(`${directory}\0`),
    Buffer.from("tmpfs\0"),
    TMPFS_FLAGS,
    Buffer.from(`${options}\0`),
  );
