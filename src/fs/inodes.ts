/**
 * The inodes that the kernel, or dirty data, still needs: one record a file, however many names it has.
 *
 * A record lives while the kernel holds look-ups of it, while it has dirty data, or while records of its children refer to it.
 * A file that loses the name that its record bears is moved to `.hypegear/held/<slot>` until then, so that it stays
 * reachable for the next engine too; its link count is shown one less.
 *
 * Look-ups are counted before the reply and taken back by requests that have none. So an engine that is killed may leave a
 * count too high (a look-up counted again when it is sent again, a FORGET that nobody repeats), never too low: such a record
 * stays until the mount ends. Of many that are forgotten together all look-ups are taken back first, in the slab, where the next engine
 * finds them; what is to become of each record is looked at bit by bit, between requests.
 */
import { assert } from "../base/assert.ts";
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { Fifo } from "../base/fifo.ts";
import { INODES_MAX } from "../base/limits.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import { ImageFlag, type ImageTable } from "../cache/image.ts";
import type { Slab } from "../cache/slab.ts";
import type { Request } from "../fuse/request.ts";
import { AT_EMPTY_PATH, O, S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { openOwn } from "../sys/open-own.ts";
import { Stat } from "../sys/stat.ts";
import type { HomeOpener, ImageData } from "../volume/contract.ts";
import { Directories } from "./directories.ts";
import { Held } from "./held.ts";
import { keyOf, NO_PARENT, Records, ROOT } from "./records.ts";

const F_SETFL = 4;
/** Forgotten records that are looked at in one turn of the loop: about a millisecond's worth. */
const REVIEWS = 64;
/** Refusals after which a backing file is opened for reading alone. */
const READ_ONLY_REASONS: number[] = [-E.EACCES, -E.EPERM, -E.EROFS, -E.ETXTBSY];

export class Inodes implements HomeOpener {
  readonly records: Records;
  readonly directories: Directories;
  readonly held: Held;
  readonly images: ImageTable;
  private readonly slab: Slab;
  private readonly stat = new Stat();
  private readonly free: InodeSlot[] = [];
  private readonly bySource = new Map<string, InodeSlot>();
  private readonly children = new Uint32Array(INODES_MAX);
  /** Slots whose `whenClean` or `discard` will look at them again. */
  private readonly awaited = new Set<InodeSlot>();
  /** Records that may have become needless, each in the generation that it then had. */
  private readonly forgotten = new Fifo<{ slot: InodeSlot; generation: number }>();
  private data: ImageData | undefined;

  /** `rootFd` is the backing directory. Makes `.hypegear/held` there if it is missing. */
  constructor(slab: Slab, images: ImageTable, rootFd: number) {
    this.slab = slab;
    this.images = images;
    this.records = new Records(slab.inodes());
    this.held = new Held(rootFd);
    this.directories = new Directories(this.records, images, rootFd, this.held.fd);
  }

  /** Connects the data side. Before `begin` or `restore`. */
  attach(data: ImageData): void {
    this.data = data;
  }

  private get imageData(): ImageData {
    assert(this.data !== undefined, "attach comes first");
    return this.data;
  }

  /** Begins with an empty slab: the root alone. */
  begin(): void {
    const result = this.stat.read(this.directories.rootFd, libc.cstring("."));
    if (result < 0) throw new Failure(`backing directory: cannot be read: ${errnoName(result)}`);
    this.records.identify(ROOT, this.stat);
    this.records.setParent(ROOT, NO_PARENT);
    this.records.setName(ROOT, "");
    this.records.everUsed = 1;
    this.records.setUsed(ROOT, true);
    this.bySource.set(this.records.key(ROOT), ROOT);
  }

  /** Takes the records over that an earlier engine left; the map, the counts and the free slots are made anew. */
  load(): void {
    if (!this.records.used(ROOT)) return this.begin(); // killed before it had begun
    const root = this.stat.read(this.directories.rootFd, libc.cstring("."));
    if (root < 0) throw new Failure(`backing directory: cannot be read: ${errnoName(root)}`);
    if (!this.records.matches(ROOT, this.stat)) {
      throw new Failure(
        "slab: its inodes are another directory's; mount the directory that it belongs to",
        ExitCode.refused,
      );
    }
    const count = this.records.everUsed;
    if (count > INODES_MAX || this.slab.allocateInodes(count) < 0) {
      throw new Failure(`slab: ${count} inode records do not fit in memory; free some and mount again`);
    }
    for (let slot = asSlot(0); slot < count; slot++) {
      if (!this.records.used(slot)) this.free.push(slot);
      else this.admit(slot);
    }
  }

  private admit(slot: InodeSlot): void {
    this.enlist(slot);
    const parent = this.records.parent(slot);
    if (parent >= 0) this.children[parent]!++;
  }

  /**
   * Has `slot` found by its file. One that only the descriptor of an earlier engine led to has none any more, and its inode number may
   * be another's: 1. a directory is removed in use  2. the engine is killed  3. a file gets its number  4. the engine is killed
   * 5. both records have one key. The file would be taken for the directory, found not to be it, and get a second record. Nor
   * does a record take the place of one that is right.
   */
  private enlist(slot: InodeSlot): void {
    if (slot !== ROOT && this.records.parent(slot) === NO_PARENT && !this.isHeld(slot)) return;
    const key = this.records.key(slot);
    const other = this.bySource.get(key);
    if (other === undefined || other === slot || this.directories.read(other, this.stat) < 0)
      this.bySource.set(key, slot);
  }

  /** Calls `visit` for every record but the root's. */
  each(visit: (slot: InodeSlot) => void): void {
    for (let slot = asSlot(1); slot < this.records.everUsed; slot++) if (this.records.used(slot)) visit(slot);
  }

  /** Blocks of `slot` that are not yet home. */
  dirtyBlocks(slot: InodeSlot): number {
    return this.imageData.dirtyBlocks(slot);
  }

  /** 0 if the node that `request` names is known; ESTALE if it was another inode's. */
  check(request: Request): number {
    return this.known(request.slot, request.generation) ? 0 : -E.ESTALE;
  }

  known(slot: InodeSlot, generation: number): boolean {
    return (
      slot >= 0 &&
      slot < this.records.everUsed &&
      this.records.used(slot) &&
      this.records.generation(slot) === generation
    );
  }

  /** The record of the file that `stat` describes, if there is one. A record of an earlier file of that number is cut off. */
  find(stat: Stat): InodeSlot | undefined {
    const slot = this.bySource.get(keyOf(stat));
    if (slot === undefined || this.records.matches(slot, stat)) return slot;
    this.bySource.delete(keyOf(stat)); // removed beneath the mount, its number used again: its nodes answer ESTALE
    return undefined;
  }

  /** The record of the file `stat`, seen as `name` in `parent`; made if need be. A negated error number when full. */
  intern(parent: InodeSlot, name: string, stat: Stat): number {
    return this.find(stat) ?? this.make(parent, name, stat);
  }

  private make(parent: number, name: string, stat: Stat): number {
    const slot = this.free.pop() ?? asSlot(this.records.everUsed);
    if (slot >= INODES_MAX || this.slab.allocateInodes(slot + 1) < 0) return -E.ENFILE;
    if (slot >= this.records.everUsed) this.records.everUsed = slot + 1;
    this.records.identify(slot, stat);
    this.records.setParent(slot, parent);
    this.records.setName(slot, name);
    this.records.setLookups(slot, 0);
    this.images.setFlags(slot, parent === NO_PARENT ? ImageFlag.held | ImageFlag.fresh : 0);
    this.images.setErrors(slot, 0);
    this.records.setUsed(slot, true);
    this.admit(slot);
    return slot;
  }

  /** The file of `slot` was made just now: a power cut may take it away. */
  made(slot: InodeSlot): void {
    this.images.setFlags(slot, this.images.flags(slot) | ImageFlag.fresh);
  }

  /** A record for the open file `fd`, which gets its only name, under `held`, by `moveIn`. */
  internHeld(fd: number, moveIn: (name: string) => number): number {
    const name = this.held.nameOf(this.free.at(-1) ?? asSlot(this.records.everUsed));
    const result = moveIn(name);
    if (result < 0) return result;
    const read = this.stat.read(fd, libc.cstring(""), AT_EMPTY_PATH);
    const slot = read < 0 ? read : this.make(NO_PARENT, name, this.stat);
    if (slot < 0) this.held.remove(name);
    return slot;
  }

  /** Gives `slot` another name: its file was moved there, or is known to be there. */
  rename(slot: InodeSlot, parent: InodeSlot, name: string): void {
    const before = this.records.parent(slot);
    this.records.setName(slot, name);
    this.records.setParent(slot, parent);
    this.images.setFlags(slot, this.images.flags(slot) & ~ImageFlag.held);
    this.children[parent]!++;
    if (before >= 0) this.unrefer(asSlot(before));
  }

  /** `slot` now lies under `held`, or only a descriptor leads to it. */
  unname(slot: InodeSlot): void {
    const before = this.records.parent(slot);
    this.records.setName(slot, this.held.nameOf(slot));
    this.records.setParent(slot, NO_PARENT);
    if (!this.directories.isNameless(slot)) {
      this.images.setFlags(slot, this.images.flags(slot) | ImageFlag.held);
      this.enlist(slot); // an engine that was killed between these steps left one that `load` took for lost
    }
    if (before >= 0) this.unrefer(asSlot(before));
    this.review(slot);
  }

  private unrefer(parent: InodeSlot): void {
    this.children[parent]!--;
    this.review(parent);
  }

  /** True if the record of `slot` says that it lies at `name` in `parent`. */
  bears(slot: InodeSlot, parent: InodeSlot, name: string): boolean {
    return this.records.parent(slot) === parent && this.records.name(slot) === name;
  }

  isHeld(slot: InodeSlot): boolean {
    return (this.images.flags(slot) & ImageFlag.held) !== 0;
  }

  /** Counts one look-up that the kernel will forget some day. */
  retain(slot: InodeSlot): void {
    this.records.setLookups(slot, this.records.lookups(slot) + 1);
  }

  /** Takes back `count` look-ups. */
  forget(slot: InodeSlot, count: number): void {
    this.takeBack(slot, count);
    this.review(slot);
  }

  /** The same, one of many: `reviewForgotten` sees to the record. */
  forgetOfMany(slot: InodeSlot, count: number): void {
    this.takeBack(slot, count);
    if (!this.needed(slot)) this.forgotten.push({ slot, generation: this.records.generation(slot) });
  }

  private takeBack(slot: InodeSlot, count: number): void {
    if (slot !== ROOT) this.records.setLookups(slot, Math.max(0, this.records.lookups(slot) - count));
  }

  /** Deletes some of the records that were forgotten with many others. True if more are left. */
  reviewForgotten(): boolean {
    for (let left = REVIEWS; left > 0 && this.forgotten.length > 0; left--) {
      const { slot, generation } = this.forgotten.shift()!;
      if (this.known(slot, generation)) this.review(slot);
    }
    return this.forgotten.length > 0;
  }

  /** Deletes the record of `slot` if nobody needs it, now or when its data is home. */
  review(slot: InodeSlot): void {
    if (slot === ROOT || this.needed(slot) || this.awaited.has(slot)) return;
    if ((this.records.mode(slot) & S.IFMT) !== S.IFREG) return this.remove(slot);
    this.awaited.add(slot);
    const { imageData } = this;
    const whenClean = (): void => imageData.whenClean(slot, () => this.again(slot));
    if (this.isLastName(slot)) imageData.discard(slot, () => this.discarded(slot));
    else if (imageData.isDirty(slot)) whenClean();
    else imageData.release(slot, (isReleased) => (isReleased ? this.discarded(slot) : whenClean()));
  }

  private needed(slot: InodeSlot): boolean {
    return !this.records.used(slot) || this.records.lookups(slot) > 0 || this.children[slot]! > 0;
  }

  private again(slot: InodeSlot): void {
    this.awaited.delete(slot);
    this.review(slot);
  }

  /** Nothing dirty is left and nothing open; unless a look-up came in the meantime, the record goes. */
  private discarded(slot: InodeSlot): void {
    this.awaited.delete(slot);
    if (!this.needed(slot)) this.remove(slot);
  }

  /** True if no name but the one under `held` leads to the file, beyond doubt: its data is nobody's. */
  private isLastName(slot: InodeSlot): boolean {
    if (!this.isHeld(slot) && !this.directories.isNameless(slot)) return false;
    const result = this.directories.read(slot, this.stat);
    if (result < 0) return result === -E.ESTALE || result === -E.ENOENT;
    return this.stat.nlink <= (this.isHeld(slot) ? 1 : 0);
  }

  private remove(slot: InodeSlot): void {
    const parent = this.records.parent(slot);
    if (this.isHeld(slot)) this.held.remove(this.records.name(slot));
    this.directories.drop(slot);
    if (this.bySource.get(this.records.key(slot)) === slot) this.bySource.delete(this.records.key(slot));
    this.images.setFlags(slot, 0);
    this.records.age(slot);
    this.records.setUsed(slot, false);
    this.free.push(slot);
    if (parent >= 0) this.unrefer(asSlot(parent));
  }

  openHome(slot: InodeSlot, extraFlags: number, toWrite = false): number {
    if ((this.records.mode(slot) & S.IFMT) !== S.IFREG) return -E.EINVAL;
    const dirfd = this.directories.place(slot);
    if (dirfd < 0) return dirfd;
    let path = this.directories.name;
    if (this.directories.flags !== 0) path = libc.cstring(`/proc/self/fd/${dirfd}`);
    const flags = O.CLOEXEC | O.NONBLOCK | extraFlags | (this.directories.flags === 0 ? O.NOFOLLOW : 0);
    let fd = libc.openat(dirfd, path, flags | O.RDWR, 0);
    if (READ_ONLY_REASONS.includes(fd) && !toWrite) fd = libc.openat(dirfd, path, flags | O.RDONLY, 0);
    if (fd === -E.EACCES) fd = openOwn(dirfd, path, flags | O.RDWR);
    if (fd < 0) return fd === -E.ENOENT || fd === -E.ELOOP ? -E.ESTALE : fd;
    return this.verified(slot, fd, extraFlags);
  }

  /** `fd` if it is the file of `slot`; else it is closed, and ESTALE. */
  private verified(slot: InodeSlot, fd: number, extraFlags: number): number {
    const result = this.stat.read(fd, libc.cstring(""), AT_EMPTY_PATH);
    if (result === 0 && this.records.matches(slot, this.stat)) {
      libc.fcntl(fd, F_SETFL, extraFlags); // without O_NONBLOCK, which was for a FIFO put in its place: I/O may wait
      return fd;
    }
    libc.close(fd);
    return result < 0 ? result : -E.ESTALE;
  }

  /** What became of the file of `slot` since its record was made. */
  fate(slot: InodeSlot): "there" | "replaced" | "gone" {
    const result = this.directories.read(slot, this.stat);
    if (result !== -E.ESTALE) return "there"; // or an error that says nothing about it
    const fd = this.directories.place(slot);
    return fd >= 0 && this.stat.read(fd, this.directories.name) === 0 ? "replaced" : "gone";
  }

  /** Takes the regular file that now has the name of `slot` for its file. False if that is another record's file. */
  recognise(slot: InodeSlot): boolean {
    if (this.fate(slot) !== "replaced" || this.stat.type !== S.IFREG || this.find(this.stat) !== undefined)
      return false;
    this.bySource.delete(this.records.key(slot));
    this.records.identify(slot, this.stat);
    this.bySource.set(this.records.key(slot), slot);
    return true;
  }

  /** The mount has ended: the kernel forgets every look-up without saying so. */
  forgetAll(): void {
    this.each((slot) => this.records.setLookups(slot, 0));
    this.each((slot) => this.review(slot));
  }

  /** Records in use, the root's included. */
  get count(): number {
    return this.records.everUsed - this.free.length;
  }

  close(): void {
    this.directories.close();
    this.held.close();
  }
}
