/** Attributes as the kernel gets them: those of the backing file, except where the cache knows better. */
import { ATTR_TIMEOUT_S, ENTRY_TIMEOUT_S } from "../base/limits.ts";
import { BLOCK_BYTES, type InodeSlot } from "../base/units.ts";
import { ImageFlag } from "../cache/image.ts";
import type { ReplyBody } from "../fuse/request.ts";
import { S } from "../sys/constants.ts";
import { type Stat, StatxAt } from "../sys/stat.ts";
import type { Inodes } from "./inodes.ts";

/** Blocks of 512 bytes in one of the cache's. */
const UNITS = BLOCK_BYTES / 512;

/** What of `stat` the cache overrides; filled by `seen`. */
export class Attributes {
  size = 0;
  /** In units of 512 bytes. */
  blocks = 0;
  nlink = 0;
  mtimeLow = 0;
  mtimeHigh = 0;
  mtimeNs = 0;
  ctimeLow = 0;
  ctimeHigh = 0;
  ctimeNs = 0;
  private readonly inodes: Inodes;
  private readonly rootDevice: Stat;

  /** `root` is the root's stat: files on other devices below it get other inode numbers. */
  constructor(inodes: Inodes, root: Stat) {
    this.inodes = inodes;
    this.rootDevice = root;
  }

  /** Works out the attributes of `slot`, whose backing file `stat` describes. */
  seen(slot: InodeSlot, stat: Stat): void {
    const flags = this.inodes.images.flags(slot);
    this.size = stat.size;
    this.blocks = stat.blocks;
    this.nlink = stat.nlink - (flags & ImageFlag.held ? 1 : 0);
    this.mtimeLow = stat.u32(StatxAt.mtime);
    this.mtimeHigh = stat.u32(StatxAt.mtime + 4);
    this.mtimeNs = stat.u32(StatxAt.mtime + 8);
    this.ctimeLow = stat.u32(StatxAt.ctime);
    this.ctimeHigh = stat.u32(StatxAt.ctime + 4);
    this.ctimeNs = stat.u32(StatxAt.ctime + 8);
    if ((flags & (ImageFlag.size | ImageFlag.mtime)) !== 0 && stat.type === S.IFREG) this.overrideDirty(slot, flags);
  }

  private overrideDirty(slot: InodeSlot, flags: number): void {
    if (flags & ImageFlag.size) this.size = this.inodes.images.size(slot);
    // Home may have room for a dirty block already: no more than the whole file is claimed, nor less than home has.
    const whole = Math.ceil(this.size / BLOCK_BYTES) * UNITS;
    this.blocks = Math.max(this.blocks, Math.min(whole, this.blocks + this.inodes.dirtyBlocks(slot) * UNITS));
    if (flags & ImageFlag.mtime) this.overrideTimes(slot, (flags & ImageFlag.given) !== 0);
  }

  /** A write changes the image at its time of modification; one that was given came to the backing file, which has the instant. */
  private overrideTimes(slot: InodeSlot, isGiven: boolean): void {
    const { seconds, nanoseconds } = this.inodes.images.mtime(slot);
    this.mtimeLow = seconds >>> 0;
    this.mtimeHigh = Math.floor(seconds / 4294967296) >>> 0;
    this.mtimeNs = nanoseconds;
    if (isGiven) return;
    const changed = (this.ctimeHigh | 0) * 4294967296 + this.ctimeLow;
    if (seconds < changed || (seconds === changed && nanoseconds <= this.ctimeNs)) return;
    this.ctimeLow = this.mtimeLow;
    this.ctimeHigh = this.mtimeHigh;
    this.ctimeNs = nanoseconds;
  }

  /** Writes a fuse_attr, 88 bytes. */
  write(body: ReplyBody, slot: InodeSlot, stat: Stat): void {
    this.seen(slot, stat);
    body.u32(stat.inoLow);
    body.u32((stat.inoHigh ^ this.foreignBits(stat)) >>> 0);
    body.u64(this.size);
    body.u64(this.blocks);
    body.u32(stat.u32(StatxAt.atime));
    body.u32(stat.u32(StatxAt.atime + 4));
    body.u32(this.mtimeLow);
    body.u32(this.mtimeHigh);
    body.u32(this.ctimeLow);
    body.u32(this.ctimeHigh);
    body.u32(stat.u32(StatxAt.atime + 8));
    body.u32(this.mtimeNs);
    body.u32(this.ctimeNs);
    body.u32(stat.mode);
    body.u32(this.nlink);
    body.u32(stat.uid);
    body.u32(stat.gid);
    body.u32(stat.rdev);
    body.u32(stat.u32(StatxAt.blksize));
    body.u32(0);
  }

  /** The mount has one device number, so inode numbers of a filesystem mounted further down must not meet the root's. */
  private foreignBits(stat: Stat): number {
    const root = this.rootDevice;
    if (stat.devMajor === root.devMajor && stat.devMinor === root.devMinor) return 0;
    return ((stat.devMajor * 4096 + stat.devMinor + 1) & 0x7fff) << 16;
  }

  /** Writes a fuse_attr_out. */
  reply(body: ReplyBody, slot: InodeSlot, stat: Stat): void {
    body.u64(ATTR_TIMEOUT_S);
    body.u64(0);
    this.write(body, slot, stat);
  }

  /** Writes a fuse_entry_out; the look-up is the caller's to count. */
  entry(body: ReplyBody, slot: InodeSlot, stat: Stat): void {
    const generation = this.inodes.records.generation(slot);
    body.u32(slot + 1);
    body.u32(generation);
    body.u64(generation);
    body.u64(ENTRY_TIMEOUT_S);
    body.u64(ATTR_TIMEOUT_S);
    body.u64(0);
    this.write(body, slot, stat);
  }

  /** Writes a fuse_statx_out: the backing file's statx with the same corrections. */
  replyStatx(body: ReplyBody, slot: InodeSlot, stat: Stat): void {
    this.seen(slot, stat);
    body.u64(ATTR_TIMEOUT_S);
    body.zeros(24);
    const at = body.length;
    body.copy(stat.bytes);
    const end = body.length;
    body.length = at + StatxAt.nlink;
    body.u32(this.nlink);
    body.length = at + StatxAt.ino;
    body.u32(stat.inoLow);
    body.u32((stat.inoHigh ^ this.foreignBits(stat)) >>> 0);
    body.u64(this.size);
    body.u64(this.blocks);
    body.length = at + StatxAt.ctime;
    body.u32(this.ctimeLow);
    body.u32(this.ctimeHigh);
    body.u32(this.ctimeNs);
    body.length = at + StatxAt.mtime;
    body.u32(this.mtimeLow);
    body.u32(this.mtimeHigh);
    body.u32(this.mtimeNs);
    body.length = end;
  }
}
