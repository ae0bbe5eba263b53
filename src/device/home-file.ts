/**
 * The backing file of one image: a descriptor with O_DIRECT where the filesystem has it, so that nothing is cached twice,
 * and a buffered one for what O_DIRECT cannot write (tails and odd bytes).
 */
import { fstatSync } from "node:fs";
import { E } from "../base/errno.ts";
import { type InodeSlot, SECTOR_BYTES } from "../base/units.ts";
import { FALLOC, O } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { Stat, spaceOf } from "../sys/stat.ts";
import { setModificationTime } from "../sys/times.ts";

const AT_EMPTY_PATH = 0x1000;
const STATX_DIOALIGN = 0x2000;
const DIO_OFFSET_ALIGN_AT = 0x9c;
const STATX_MASK_AT = 0;

const F_GETFL = 3;

/** Opens the file anew with `extraFlags`, unless `toWrite` perhaps for reading alone; a descriptor or a negated error number. */
type OpenFile = (extraFlags: number, toWrite: boolean) => number;

/** What a look at a backing file shows. */
export interface Look {
  /** Bytes. */
  size: number;
  /** Time of the last modification in milliseconds, to be compared only. */
  modifiedMs: number;
}

/** What the data side asks of a backing file beside `Io`; none of it waits for the device. */
export interface HomeFile {
  /** The descriptor for any I/O, and for all that names the whole file. */
  readonly buffered: number;
  /** Bytes of the file when it was opened. */
  readonly size: number;
  /** Bytes that the filesystem has allocated to it. */
  readonly allocated: number;
  /** Its filesystem's device, major * 2^20 + minor. */
  readonly device: number;
  /** Bytes that are free in its filesystem for anybody; 0 if that cannot tell. */
  freeBytes(): number;
  /** Descriptors to close, the buffered one last. */
  readonly descriptors: number[];
  /** The descriptor for I/O of `length` bytes at `offset`. */
  fdFor(offset: number, length: number): number;
  isDirect(fd: number): boolean;
  /**
   * 0 once it can be written; one that could only be opened for reading is opened anew. A negated error number if that is refused:
   * then no write may be accepted, for it could never go home.
   */
  makeWritable(): number;
  /** The filesystem took the flag and refuses the I/O (EINVAL): use the page cache from now on. */
  giveUpDirect(): void;
  /** lseek(2) with SEEK_DATA or SEEK_HOLE: an offset, or a negated error number. */
  seek(offset: number, whence: number): number;
  /** Allocates room without changing size or bytes; 0 or a negated error number. */
  reserve(offset: number, length: number): number;
  setModificationTime(seconds: number, nanoseconds: number): number;
  /** Undefined: the filesystem tells nothing any more (XFS that has shut down answers fstat with EIO). */
  look(): Look | undefined;
}

/** What a file's size may be, bytes. */
export interface Sizes {
  least: number;
  most: number;
}

/** The backing filesystem. */
export interface Home {
  /** Opens the backing file of `slot`; a negated error number if that fails. */
  open(slot: InodeSlot): HomeFile | number;
}

/** The real one: `openHome` opens descriptors, `fd` is one of the backing directory. */
export class HomeDirectory implements Home {
  private readonly fd: number;
  private readonly openHome: (slot: InodeSlot, extraFlags: number, toWrite: boolean) => number;

  constructor(fd: number, openHome: (slot: InodeSlot, extraFlags: number, toWrite: boolean) => number) {
    this.fd = fd;
    this.openHome = openHome;
  }

  /** While it is set: what is known of the file of `slot`, which could not be opened (`result`). Something stands for it until it can. */
  missing: ((slot: InodeSlot, result: number) => Sizes) | undefined;

  open(slot: InodeSlot): HomeFile | number {
    const open: OpenFile = (flags, toWrite) => this.openHome(slot, flags, toWrite);
    const file = BackingFile.open(open);
    if (typeof file !== "number" || this.missing === undefined) return file;
    return BackingFile.standIn(this.fd, this.missing(slot, file), open);
  }
}

class BackingFile implements HomeFile {
  readonly buffered: number;
  readonly size: number;
  device: number;
  /** Offsets and lengths of direct I/O are multiples of this; bytes. */
  private readonly alignment: number;
  private readonly directFd: number;
  private useDirect: boolean;
  private isWritable: boolean;
  /** The file is not there: the descriptor is of something that refuses all I/O, until it is. How long it may be then. */
  private missing: Sizes | undefined;
  private readonly reopen: OpenFile;

  private constructor(buffered: number, size: number, direct: number, alignment: number, reopen: OpenFile) {
    this.reopen = reopen;
    this.device = deviceOf(buffered);
    this.buffered = buffered;
    this.size = size;
    this.directFd = direct;
    this.useDirect = direct >= 0;
    this.alignment = alignment;
    this.isWritable = this.descriptors.every((fd) => (libc.fcntl(fd, F_GETFL, 0) & O.ACCMODE) === O.RDWR);
  }

  /** A file, or a negated error number. */
  static open(open: OpenFile): BackingFile | number {
    const buffered = open(0, false);
    if (buffered < 0) return buffered;
    const stat = new Stat();
    const known = stat.read(buffered, libc.cstring(""), AT_EMPTY_PATH);
    if (known < 0) {
      libc.close(buffered);
      return known;
    }
    const alignment = directAlignment(buffered);
    const direct = alignment === 0 ? -1 : open(O.DIRECT, false);
    return new BackingFile(buffered, stat.size, direct < 0 ? -1 : direct, alignment, open);
  }

  /**
   * What stands for a file that is not there, or a negated error number. Its size is the most that it may be: taken for shorter than it is,
   * it would be made "longer" to less. `directory`: a descriptor of one.
   */
  static standIn(directory: number, sizes: Sizes, open: OpenFile): BackingFile | number {
    const fd = libc.openat(directory, libc.cstring("."), O.PATH | O.CLOEXEC, 0);
    if (fd < 0) return fd;
    const file = new BackingFile(fd, sizes.most, -1, SECTOR_BYTES, open);
    file.missing = sizes;
    return file;
  }

  fdFor(offset: number, length: number): number {
    if (!this.useDirect || offset % this.alignment !== 0 || length % this.alignment !== 0) return this.buffered;
    return this.directFd;
  }

  isDirect(fd: number): boolean {
    return fd === this.directFd && fd >= 0;
  }

  makeWritable(): number {
    if (this.isWritable) return 0;
    for (const fd of this.descriptors) {
      const opened = this.reopen(fd === this.directFd ? O.DIRECT : 0, true);
      if (opened < 0) return opened;
      if (!this.mayBe(fstatSync(opened).size)) {
        libc.close(opened);
        return -E.ESTALE;
      }
      const result = libc.dup3(opened, fd, O.CLOEXEC); // in its place: reads that name it may be under way
      libc.close(opened);
      if (result < 0) return result;
    }
    this.isWritable = true;
    this.missing = undefined;
    this.device = deviceOf(this.buffered);
    return 0;
  }

  private mayBe(size: number): boolean {
    return this.missing === undefined || (size >= this.missing.least && size <= this.missing.most);
  }

  giveUpDirect(): void {
    this.useDirect = false; // the descriptor stays open: I/O that names it may not have begun
  }

  get allocated(): number {
    return fstatSync(this.buffered).blocks * SECTOR_BYTES;
  }

  freeBytes(): number {
    const space = spaceOf(this.buffered);
    return typeof space === "number" ? 0 : space.frsize * space.bavail;
  }

  get descriptors(): number[] {
    return this.directFd < 0 ? [this.buffered] : [this.directFd, this.buffered];
  }

  seek(offset: number, whence: number): number {
    return libc.lseek(this.buffered, offset, whence);
  }

  reserve(offset: number, length: number): number {
    const result = libc.fallocate(this.buffered, FALLOC.KEEP_SIZE, offset, length);
    return result === -E.EOPNOTSUPP ? 0 : result; // cannot be promised on this filesystem
  }

  setModificationTime(seconds: number, nanoseconds: number): number {
    return this.missing !== undefined ? -E.ESTALE : setModificationTime(this.buffered, seconds, nanoseconds);
  }

  look(): Look | undefined {
    if (this.missing !== undefined) return undefined;
    try {
      const { size, mtimeMs } = fstatSync(this.buffered);
      return { size, modifiedMs: mtimeMs };
    } catch {
      return undefined;
    }
  }
}

function deviceOf(fd: number): number {
  const stat = new Stat();
  return stat.read(fd, libc.cstring(""), AT_EMPTY_PATH) < 0 ? 0 : stat.devMajor * 2 ** 20 + stat.devMinor;
}

/** What STATX_DIOALIGN says (0: no direct I/O); 512 on kernels before 6.1, where only trying tells. */
function directAlignment(fd: number): number {
  const buffer = Buffer.alloc(256);
  const result = libc.statx(fd, libc.cstring(""), AT_EMPTY_PATH, STATX_DIOALIGN, buffer);
  if (result < 0 || (buffer.readUInt32LE(STATX_MASK_AT) & STATX_DIOALIGN) === 0) return SECTOR_BYTES;
  return buffer.readUInt32LE(DIO_OFFSET_ALIGN_AT);
}
