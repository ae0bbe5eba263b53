/** statx(2) and fstatfs(2), decoded in place: one buffer, filled again and again, no allocation a call. */
import { AT_SYMLINK_NOFOLLOW, S } from "./constants.ts";
import * as libc from "./libc.ts";

/** Type, mode, links, owner, times, inode number, size, blocks (STATX_BASIC_STATS), and the time of birth. */
const MASK = 0xfff;
const BIRTH_BIT = 0x800;
/** Never makes an automounter mount something. */
const AT_NO_AUTOMOUNT = 0x800;
export const STATX_BYTES = 256;

/** Byte offsets in `struct statx`. */
export const StatxAt = {
  mask: 0,
  blksize: 4,
  nlink: 16,
  uid: 20,
  gid: 24,
  mode: 28,
  ino: 32,
  size: 40,
  blocks: 48,
  atime: 64,
  birth: 80,
  ctime: 96,
  mtime: 112,
  rdev: 128,
  dev: 136,
} as const;

/** What statx(2) says of one file. Valid until the next `read`. */
export class Stat {
  readonly bytes: Buffer = Buffer.alloc(STATX_BYTES);
  private readonly u32s = new Uint32Array(this.bytes.buffer, this.bytes.byteOffset, STATX_BYTES / 4);

  /** Fills this from `name` in `dirfd`, never following a symlink. 0, or a negated error number. */
  read(dirfd: number, name: Uint8Array, flags = 0): number {
    return libc.statx(dirfd, name, flags | AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, MASK, this.bytes);
  }

  private u64(at: number): number {
    return this.u32s[at >>> 2]! + this.u32s[(at >>> 2) + 1]! * 4294967296;
  }

  u32(at: number): number {
    return this.u32s[at >>> 2]!;
  }
  get mode(): number {
    return this.u32s[StatxAt.mode >>> 2]! & 0xffff;
  }
  /** The type bits of `mode`. */
  get type(): number {
    return this.mode & S.IFMT;
  }
  get nlink(): number {
    return this.u32(StatxAt.nlink);
  }
  get uid(): number {
    return this.u32(StatxAt.uid);
  }
  get gid(): number {
    return this.u32(StatxAt.gid);
  }
  get inoLow(): number {
    return this.u32(StatxAt.ino);
  }
  get inoHigh(): number {
    return this.u32(StatxAt.ino + 4);
  }
  get devMajor(): number {
    return this.u32(StatxAt.dev);
  }
  get devMinor(): number {
    return this.u32(StatxAt.dev + 4);
  }
  /** Bytes, exact up to 2^53. */
  get size(): number {
    return this.u64(StatxAt.size);
  }
  /** In units of 512 bytes. */
  get blocks(): number {
    return this.u64(StatxAt.blocks);
  }
  /** Time of birth as one number, to be compared only; 0 where the filesystem keeps none. */
  get birth(): number {
    if ((this.u32s[0]! & BIRTH_BIT) === 0) return 0;
    return this.u64(StatxAt.birth) * 1e9 + this.u32(StatxAt.birth + 8);
  }
  /** Device number of a device node in the kernel's 32-bit encoding. */
  get mtimeSeconds(): number {
    return this.u32(StatxAt.mtime) + (this.u32(StatxAt.mtime + 4) | 0) * 4294967296;
  }

  get rdev(): number {
    const major = this.u32(StatxAt.rdev);
    const minor = this.u32(StatxAt.rdev + 4);
    return ((minor & 0xff) | (major << 8) | ((minor & 0xfff00) << 12)) >>> 0;
  }
}

/** What fstatfs(2) says: blocks in units of `bsize` bytes. */
export interface Space {
  bsize: number;
  blocks: number;
  bfree: number;
  bavail: number;
  files: number;
  ffree: number;
  namelen: number;
  frsize: number;
}

/** `f_type` of a FUSE filesystem (`FUSE_SUPER_MAGIC`). */
export const FUSE_MAGIC = 0x65735546;

/** The kind of the filesystem that `fd` lies on, as its magic number; or a negated error number. */
export function magicOf(fd: number): number {
  const bytes = Buffer.alloc(120);
  const result = libc.fstatfs(fd, bytes);
  return result < 0 ? result : bytes.readUInt32LE(0);
}

/** The space of the filesystem that `fd` lies on, or a negated error number. */
export function spaceOf(fd: number): Space | number {
  const bytes = Buffer.alloc(120);
  const result = libc.fstatfs(fd, bytes);
  if (result < 0) return result;
  const at = (offset: number): number => Number(bytes.readBigUInt64LE(offset));
  return {
    bsize: at(8),
    blocks: at(16),
    bfree: at(24),
    bavail: at(32),
    files: at(40),
    ffree: at(48),
    namelen: at(64),
    frsize: at(72),
  };
}
