/**
 * The slab: one file in a memory filesystem that holds everything a new engine needs to carry on where a killed one stopped.
 * Other processes never write it while an engine runs; a store here survives SIGKILL of its maker, not a power loss.
 *
 *   0          superblock      4 KiB    magic, version, identity, geometry (written once, by `create`)
 *   4 KiB      counters       60 KiB    float64 each, see `stats/counters.ts`
 *   64 KiB     memory         64 KiB    results of finished namespace operations, see `fs/memory.ts`
 *   128 KiB    frame rows               64 bytes a frame, see `frames.ts`
 *   ...        frames          4 KiB each, starts on 2 MiB so that huge pages hold it
 *   ...        inode records  408 bytes each, INODES_MAX of them, a hole in the file that is allocated chunk by chunk
 */
import { closeSync, fstatSync, ftruncateSync, readSync, writeSync } from "node:fs";
import { assert } from "../base/assert.ts";
import { errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { CACHE_BYTES_MAX, CACHE_BYTES_MIN, INODE_CHUNK, INODES_MAX } from "../base/limits.ts";
import { type Address, asAddress, BLOCK_BYTES, type FrameNo } from "../base/units.ts";
import * as libc from "../sys/libc.ts";
import { Mapping, VIEW_BYTES_MAX } from "../sys/memory.ts";

const MAGIC = "HYPEGEAR";
export const SLAB_VERSION = 3;
const SUPERBLOCK_BYTES = 4096;
const COUNTERS_AT = 4096;
const COUNTERS_BYTES = 60 * 1024;
const MEMORY_AT = 64 * 1024;
const MEMORY_BYTES = 64 * 1024;
const ROWS_AT = 128 * 1024;
const HUGE_PAGE = 2 * 1024 * 1024;
export const INODE_BYTES = 416;

/** Bytes of a frame's row, a cache line; `frames.ts` gives them meaning. */
export const FRAME_ROW_BYTES = 64;

const align = (n: number, to: number): number => Math.ceil(n / to) * to;

interface Layout {
  frames: number;
  framesAt: number;
  inodesAt: number;
  bytes: number;
}

/** Where everything lies in a slab of `frames` frames. */
function layoutOf(frames: number): Layout {
  const framesAt = align(ROWS_AT + frames * FRAME_ROW_BYTES, HUGE_PAGE);
  const inodesAt = framesAt + align(frames * BLOCK_BYTES, HUGE_PAGE);
  return { frames, framesAt, inodesAt, bytes: inodesAt + INODES_MAX * INODE_BYTES };
}

/** Bytes of shared memory that a slab for `cacheBytes` of frames needs from the start. */
export function slabBytes(cacheBytes: number): number {
  return layoutOf(Math.floor(cacheBytes / BLOCK_BYTES)).inodesAt + INODE_CHUNK * INODE_BYTES;
}

/** Fills a fresh slab file: allocates it whole (ENOSPC here, never a SIGBUS later) and writes the superblock last. */
export function createSlab(fd: number, cacheBytes: number, identity: string): void {
  assert(cacheBytes >= CACHE_BYTES_MIN && cacheBytes <= CACHE_BYTES_MAX, "the cache size was checked before");
  assert(identity.length <= 64, "an identity fits its field");
  const layout = layoutOf(Math.floor(cacheBytes / BLOCK_BYTES));
  ftruncateSync(fd, layout.bytes);
  const allocated = libc.fallocate(fd, 1, 0, layout.inodesAt + INODE_CHUNK * INODE_BYTES);
  if (allocated < 0) {
    throw new Failure(
      `slab: cannot allocate ${layout.inodesAt} bytes of shared memory: ${errnoName(allocated)}; give a smaller --cache-size`,
    );
  }
  const mapping = Mapping.shared(fd, layout.inodesAt);
  mapping.populate(); // allocated pages are zeroed at their first use: now, not in a guest's write
  mapping.unmap();
  const superblock = Buffer.alloc(SUPERBLOCK_BYTES);
  superblock.write(MAGIC, 0, "latin1");
  superblock.writeUInt32LE(SLAB_VERSION, 8);
  superblock.writeUInt32LE(layout.frames, 12);
  superblock.write(identity, 64, "latin1");
  writeSync(fd, superblock, 0, SUPERBLOCK_BYTES, 0);
}

/** What the superblock of the slab in `fd` says. Refuses one that is foreign, of another version, or of another size than it says. */
export function readSuperblock(fd: number): { frames: number; identity: string } {
  const superblock = Buffer.alloc(SUPERBLOCK_BYTES);
  const got = readSync(fd, superblock, 0, SUPERBLOCK_BYTES, 0);
  if (got !== SUPERBLOCK_BYTES || superblock.toString("latin1", 0, 8) !== MAGIC) {
    throw new Failure("slab: not a hypegear slab; remove it only if no guest's data can be in it", ExitCode.refused);
  }
  const version = superblock.readUInt32LE(8);
  if (version !== SLAB_VERSION) {
    throw new Failure(
      `slab: version ${version}, this program reads ${SLAB_VERSION}; mount with the program that made it`,
      ExitCode.refused,
    );
  }
  const frames = superblock.readUInt32LE(12);
  const bytes = fstatSync(fd).size;
  if (bytes !== layoutOf(frames).bytes) {
    throw new Failure(
      `slab: ${bytes} bytes long, its superblock says ${layoutOf(frames).bytes}; it is damaged`,
      ExitCode.refused,
    );
  }
  return { frames, identity: superblock.toString("latin1", 64, 128).replace(/\0+$/, "") };
}

export class Slab {
  readonly frames: number;
  /** Names the backing directory that this slab belongs to. */
  readonly identity: string;
  readonly framesAddress: Address;
  private readonly layout: Layout;
  private readonly mapping: Mapping;
  private readonly frameViews: Uint8Array[] = [];
  private inodesAllocated = INODE_CHUNK;
  private readonly fd: number;

  private constructor(fd: number, frames: number, identity: string) {
    this.fd = fd;
    this.frames = frames;
    this.identity = identity;
    this.layout = layoutOf(frames);
    this.mapping = Mapping.shared(fd, this.layout.bytes);
    this.framesAddress = asAddress(this.mapping.address + this.layout.framesAt);
    for (let at = 0; at < frames * BLOCK_BYTES; at += VIEW_BYTES_MAX) {
      const length = Math.min(VIEW_BYTES_MAX, frames * BLOCK_BYTES - at);
      this.frameViews.push(new Uint8Array(this.mapping.view(this.layout.framesAt + at, length)));
    }
  }

  /** Opens the slab in `fd`. Refuses what `readSuperblock` refuses. */
  static open(fd: number): Slab {
    const { frames, identity } = readSuperblock(fd);
    return new Slab(fd, frames, identity);
  }

  /** The rows of all frames. */
  rows(): ArrayBuffer {
    return this.mapping.view(ROWS_AT, this.frames * FRAME_ROW_BYTES);
  }

  /** The counters, all float64. */
  counters(): Float64Array {
    return new Float64Array(this.mapping.view(COUNTERS_AT, COUNTERS_BYTES));
  }

  /** Room for results of finished namespace operations. */
  memory(): ArrayBuffer {
    return this.mapping.view(MEMORY_AT, MEMORY_BYTES);
  }

  /** All inode records; only slots that `allocateInodes` covers may be touched. */
  inodes(): ArrayBuffer {
    return this.mapping.view(this.layout.inodesAt, INODES_MAX * INODE_BYTES);
  }

  /** Makes inode slots 0 to `count` - 1 usable. 0, or a negated error number when memory is out. */
  allocateInodes(count: number): number {
    if (count <= this.inodesAllocated) return 0;
    const wanted = align(count, INODE_CHUNK);
    const result = libc.fallocate(this.fd, 1, this.layout.inodesAt, wanted * INODE_BYTES);
    if (result === 0) this.inodesAllocated = wanted;
    return result;
  }

  /** Where frame `frame` lies in this process's memory. */
  frameAddress(frame: FrameNo): number {
    return this.framesAddress + frame * BLOCK_BYTES;
  }

  /** The view that holds `frame`, and (with `frameIndex`) where in it. No allocation: for merges and copies. */
  frameView(frame: FrameNo): Uint8Array {
    return this.frameViews[Math.floor((frame * BLOCK_BYTES) / VIEW_BYTES_MAX)]!;
  }

  /** Byte index of `frame` within its `frameView`. */
  frameIndex(frame: FrameNo): number {
    return (frame * BLOCK_BYTES) % VIEW_BYTES_MAX;
  }

  /** Copies bytes `low` to `high` - 1 of one frame to the same place in another. */
  copy(from: FrameNo, to: FrameNo, low: number, high: number): void {
    const source = this.frameIndex(from);
    this.frameView(to).set(this.frameView(from).subarray(source + low, source + high), this.frameIndex(to) + low);
  }

  /**
   * Makes all frames present in this process. A request whose payload the kernel must first find memory for gets EIO if the process is
   * being killed at that moment, for want of memory or otherwise (fuse_dev_do_read and fuse_dev_do_write, fs/fuse/dev.c).
   */
  populate(): void {
    this.mapping.populate(this.layout.inodesAt);
  }

  /** Shared memory in use, bytes. */
  get bytes(): number {
    return this.layout.inodesAt + this.inodesAllocated * INODE_BYTES;
  }

  close(): void {
    this.mapping.unmap();
    closeSync(this.fd);
  }
}
