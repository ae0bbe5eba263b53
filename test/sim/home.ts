/**
 * The simulated backing filesystem. A file has two images: `now`, what a read sees, and `durable`, what a power cut leaves.
 * They differ in dirty sectors (512 bytes), any of which may reach the device at any time, and all of which do when an
 * fsync succeeds. A failed fsync may leave some of them clean and not durable: the next one will not mend that.
 */
import { E } from "../../src/base/errno.ts";
import { asSlot, BLOCK_BYTES, type InodeSlot, SECTOR_BYTES } from "../../src/base/units.ts";
import type { Home, HomeFile, Look } from "../../src/device/home-file.ts";
import { SEEK_DATA, SEEK_SET } from "../../src/sys/constants.ts";
import { PagedBytes } from "./paged.ts";
import { must, Violation, type World } from "./world.ts";

/** The place among the files of the directory of those that were removed. */
const REMOVALS = -2 as InodeSlot;

/** One operation that changes a file; an fsync that begins after it has ended must cover it. */
export interface Change {
  ended: boolean;
  /** A change of the file's shape: a journal of the filesystem's own keeps it over a failed fsync. */
  isShape: boolean;
}

export class SimFile {
  readonly slot: InodeSlot;
  now: PagedBytes;
  size: number;
  readonly durable: PagedBytes;
  durableSize: number;
  mtime = { seconds: 0, nanoseconds: 0 };
  /** The last change of each dirty sector. */
  readonly dirty = new Map<number, Change>();
  /** Dirty sectors that a change of shape was among the changes of: a failed fsync does not undo that one. */
  private readonly shaped = new Set<number>();
  /** Dirty sectors that an fsync must cover whatever the last change is: one before it had ended. */
  private readonly due = new Set<number>();
  /** Changes of the size that no flush has covered. */
  private sizeChanges: Change[] = [];
  /** One byte a block: 1 reserved, 2 data. */
  private readonly room: Uint8Array;
  private readonly world: World;
  private readonly disk: SimHome;

  constructor(slot: InodeSlot, size: number, capacity: number, world: World, disk: SimHome) {
    this.slot = slot;
    this.world = world;
    this.disk = disk;
    this.now = new PagedBytes(capacity);
    this.size = size;
    this.durable = new PagedBytes(capacity);
    this.durableSize = size;
    this.room = new Uint8Array(capacity / BLOCK_BYTES);
  }

  /** Puts `bytes` at `offset`. 0, or -ENOSPC with nothing done. */
  put(offset: number, bytes: Uint8Array, change: Change): number {
    if (!this.takeRoom(offset, bytes.length, 2)) return -E.ENOSPC;
    this.now.set(bytes, offset);
    this.touch(offset, offset + bytes.length, change);
    const end = offset + bytes.length;
    if (end > this.size) this.resize(end, change);
    else if (end > this.durableSize) this.sizeChanges.push(change); // one beside it has made the file longer, and may end later
    return 0;
  }

  setSize(size: number, change: Change): void {
    if (size < this.size) this.clear(size, this.size, change);
    // As ext4 and XFS do: one that makes it longer leaves alone what is reserved beyond.
    if (size <= this.size)
      for (let block = Math.ceil(size / BLOCK_BYTES); block < this.room.length; block++) this.giveRoom(block);
    this.resize(size, change);
  }

  /** Zeroes [low, high); whole blocks become holes if `punch`. */
  zero(low: number, high: number, punch: boolean, change: Change): void {
    this.clear(low, Math.min(high, this.now.length), change);
    if (!punch) return;
    for (let block = Math.ceil(low / BLOCK_BYTES); block < Math.floor(high / BLOCK_BYTES); block++)
      this.giveRoom(block);
  }

  private clear(low: number, high: number, change: Change): void {
    if (low >= high) return;
    this.now.zero(low, high);
    this.touch(low, high, change);
  }

  /** Allocates blocks; false if the disk is full. */
  takeRoom(offset: number, length: number, kind: 1 | 2): boolean {
    const last = Math.min(Math.ceil((offset + length) / BLOCK_BYTES), this.room.length);
    let missing = 0;
    for (let block = Math.floor(offset / BLOCK_BYTES); block < last; block++) if (this.room[block] === 0) missing++;
    if (missing > this.disk.freeBlocks) return false;
    this.disk.freeBlocks -= missing;
    for (let block = Math.floor(offset / BLOCK_BYTES); block < last; block++) {
      if (this.room[block]! < kind) this.room[block] = kind;
    }
    return true;
  }

  private giveRoom(block: number): void {
    if (this.room[block] === 0) return;
    this.room[block] = 0;
    this.disk.freeBlocks++;
  }

  private touch(low: number, high: number, change: Change): void {
    this.mtime = this.world.civil();
    for (let sector = Math.floor(low / SECTOR_BYTES); sector * SECTOR_BYTES < high; sector++) {
      if (this.dirty.get(sector)?.ended === true) this.due.add(sector);
      this.dirty.set(sector, change);
      if (change.isShape) this.shaped.add(sector);
    }
  }

  resize(size: number, change: Change): void {
    this.mtime = this.world.civil();
    this.size = size;
    this.sizeChanges.push(change);
  }

  /** What an fsync that begins now must make durable. */
  covered(): { sectors: number[]; size: boolean } {
    const sectors = [...this.dirty]
      .filter(([sector, change]) => change.ended || this.due.has(sector))
      .map(([sector]) => sector);
    return { sectors, size: this.sizeChanges.some((change) => change.ended) };
  }

  /** An fsync succeeds; of what it need not cover, it takes what it likes. */
  flush(covered: { sectors: number[]; size: boolean }): void {
    for (const sector of covered.sectors) this.persist(sector);
    for (const sector of Array.from(this.dirty.keys())) if (this.world.random.chance(0.5)) this.persist(sector);
    if (covered.size || this.world.random.chance(0.5)) this.persistSize();
  }

  /** The bytes in [low, high) become durable, and the size as far as they need it. */
  flushWithin(low: number, high: number): void {
    for (let sector = Math.floor(low / SECTOR_BYTES); sector * SECTOR_BYTES < high; sector++) this.persist(sector);
    if (high > this.durableSize) this.persistSize();
  }

  private persist(sector: number): void {
    if (!this.clean(sector)) return;
    const at = sector * SECTOR_BYTES;
    this.durable.take(this.now, at, at + SECTOR_BYTES);
  }

  private clean(sector: number): boolean {
    this.due.delete(sector);
    this.shaped.delete(sector);
    return this.dirty.delete(sector);
  }

  private persistSize(): void {
    this.durableSize = this.size;
    this.sizeChanges = [];
  }

  /** An fsync fails: some dirty sectors reach the device, some are given up, some of those even vanish from memory. */
  loseSome(): void {
    const { random } = this.world;
    for (const sector of Array.from(this.dirty.keys())) {
      if (this.shaped.has(sector)) continue;
      const fate = random.below(4);
      if (fate === 0) this.persist(sector);
      if (fate === 1 || fate === 2) this.clean(sector);
      if (fate === 2 && (sector + 1) * SECTOR_BYTES <= Math.min(this.size, this.durableSize)) {
        const at = sector * SECTOR_BYTES;
        this.now.take(this.durable, at, at + SECTOR_BYTES);
      }
    }
  }

  /** What is left of it when the host loses power now: any subset of what is dirty was written. */
  remains(): { bytes: PagedBytes; size: number } {
    const { random } = this.world;
    const bytes = this.durable.copy();
    const share = random.pick([0, 0.5]);
    for (const sector of this.dirty.keys())
      if (random.chance(share)) bytes.take(this.now, sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    const size = random.chance(share) ? this.size : this.durableSize;
    bytes.zero(size, bytes.length);
    return { bytes, size };
  }

  seek(offset: number, whence: number): number {
    if (whence === SEEK_SET) return offset;
    if (offset >= this.size) return -E.ENXIO;
    for (let at = offset; at < this.size; at = (Math.floor(at / BLOCK_BYTES) + 1) * BLOCK_BYTES) {
      if ((this.room[Math.floor(at / BLOCK_BYTES)] === 2) === (whence === SEEK_DATA)) return at;
    }
    return whence === SEEK_DATA ? -E.ENXIO : this.size;
  }

  /** Bytes that may still be allocated on its disk. */
  get freeBytes(): number {
    return Math.min(this.disk.freeBlocks * BLOCK_BYTES, 2 ** 50);
  }

  get allocated(): number {
    return this.room.reduce((sum, kind) => sum + (kind === 0 ? 0 : BLOCK_BYTES), 0);
  }
}

export class SimHome implements Home {
  /** Blocks that may still be allocated. */
  freeBlocks = Number.POSITIVE_INFINITY;
  readonly files = new Map<InodeSlot, SimFile>();
  private readonly descriptors = new Map<number, SimFile>();
  private nextFd = 100;
  /** All images but the first lie on a second device. */
  hasTwoDevices = false;

  deviceOf(slot: InodeSlot): number {
    return this.hasTwoDevices && slot > 0 ? 1 : 0;
  }

  open(slot: InodeSlot): HomeFile | number {
    const file = this.files.get(slot);
    if (file === undefined) return -E.ESTALE;
    const buffered = this.nextFd++;
    const direct = this.nextFd++;
    this.descriptors.set(buffered, file);
    this.descriptors.set(direct, file);
    return new OpenSimFile(file, this.deviceOf(slot), buffered, direct);
  }

  /** A descriptor of a file that is no image. */
  descriptorOf(file: SimFile): number {
    const fd = this.nextFd;
    this.nextFd += 2;
    this.descriptors.set(fd, file);
    return fd;
  }

  /** The file behind a descriptor. */
  file(fd: number): SimFile {
    const file = this.descriptors.get(fd);
    if (file === undefined) throw new Violation(`I/O on descriptor ${fd}, which is closed`);
    return file;
  }

  close(fd: number): void {
    must(this.descriptors.delete(fd), () => `descriptor ${fd} is closed twice`);
  }

  /** The engine is dead, and its descriptors with it. */
  closeAll(): void {
    this.descriptors.clear();
  }
}

class OpenSimFile implements HomeFile {
  readonly device: number;
  readonly buffered: number;
  private readonly direct: number;
  private useDirect = true;
  private readonly file: SimFile;

  constructor(file: SimFile, device: number, buffered: number, direct: number) {
    this.file = file;
    this.device = device;
    this.buffered = buffered;
    this.direct = direct;
  }

  get size(): number {
    return this.file.size;
  }

  get allocated(): number {
    return this.file.allocated;
  }

  freeBytes(): number {
    return this.file.freeBytes;
  }

  get descriptors(): number[] {
    return [this.direct, this.buffered];
  }

  fdFor(offset: number, length: number): number {
    const fits = this.useDirect && offset % SECTOR_BYTES === 0 && length % SECTOR_BYTES === 0;
    return fits ? this.direct : this.buffered;
  }

  isDirect(fd: number): boolean {
    return fd === this.direct;
  }

  makeWritable(): number {
    return 0;
  }

  giveUpDirect(): void {
    this.useDirect = false;
  }

  seek(offset: number, whence: number): number {
    return this.file.seek(offset, whence);
  }

  reserve(offset: number, length: number): number {
    return this.file.takeRoom(offset, length, 1) ? 0 : -E.ENOSPC;
  }

  look(): Look {
    const { seconds, nanoseconds } = this.file.mtime;
    return { size: this.file.size, modifiedMs: seconds * 1e3 + nanoseconds / 1e6 };
  }

  setModificationTime(seconds: number, nanoseconds: number): number {
    this.file.mtime = { seconds, nanoseconds };
    return 0;
  }
}

/** The directory that files are moved to when they lose their last name. */
export class SimRemovals extends SimFile {
  /** Those of which a power cut may bring back the name. */
  readonly moved = new Map<InodeSlot, SimFile>();

  constructor(world: World, disk: SimHome) {
    super(REMOVALS, 0, 0, world, disk);
  }

  /** Slots instead of sectors. */
  override covered(): { sectors: number[]; size: boolean } {
    return { sectors: [...this.moved.keys()], size: false };
  }

  override flush({ sectors }: { sectors: number[] }): void {
    for (const slot of sectors) this.moved.delete(asSlot(slot));
  }

  override loseSome(): void {}
}
