/**
 * The one place where cache, journal, policy and writeback meet: the data of all images. Requests come from `fs/`, named by inode
 * slot; home files are opened through `Home`. Everything happens on the engine's one thread; `pump`, called once
 * a turn of the loop, begins whatever may begin.
 */
import { E } from "../base/errno.ts";
import { runTask, type Task } from "../base/task.ts";
import { asBlock, type InodeSlot } from "../base/units.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import { keepingNote } from "../cache/note.ts";
import { Counter } from "../stats/counters.ts";
import { FALLOC } from "../sys/constants.ts";
import type { IoVector } from "../sys/iovec.ts";
import { PARKED } from "./admission.ts";
import type { ImageData } from "./contract.ts";
import type { DurabilityMode } from "./durability-context.ts";
import { VolumeParts } from "./parts.ts";
import type { SendRead } from "./reader.ts";
import { type Restored, restoreFrames } from "./restore.ts";

export { PARKED };

/** What of an image that is not open has yet to go home. */
const UNSETTLED = ImageFlag.size | ImageFlag.mtime | ImageFlag.failing;
/** What is true of an image whether its file is open or not. */
const KEPT_BY_CLOSED = ImageFlag.held | ImageFlag.dropped | ImageFlag.fresh;
/** How soon it is told that an image could not be released, microseconds. */
const RELEASE_RETRY_US = 100_000;

export class Volume extends VolumeParts implements ImageData {
  /**
   * Takes in what the slab holds, of inodes that `exists` says are there; `slots` are all that are. Must come before the
   * first request.
   */
  restore(exists: (slot: InodeSlot) => boolean, slots: Iterable<InodeSlot> = []): Restored {
    const { journaling } = this;
    journaling?.load([...slots]);
    const restored = restoreFrames(
      this.cache,
      (slot) => (exists(slot) ? this.open(slot) : undefined),
      (frame) => journaling?.isCommitted(frame) ?? false,
    );
    journaling?.reconcile();
    for (const image of this.openImages) this.space.takeOver(image);
    this.ticker.startAfter(restored.newest);
    const at = this.options.counters.at;
    // A kill can fall between a block and its count; the blocks are what is true.
    at[Counter.writeBlocks] =
      at[Counter.absorbedRewriteBlocks]! +
      at[Counter.absorbedDiscardBlocks]! +
      at[Counter.writebackBlocks]! +
      restored.blocks;
    return restored;
  }

  /**
   * Ends what an earlier engine began of `slot`: a truncate, a fallocate, or bringing size and time of a clean image home; opens
   * one whose shape is not durable, so that who flushes all does not pass it over. For every inode,
   * after `restore`.
   */
  endBegun(slot: InodeSlot): void {
    const flags = this.table.flags(slot);
    if ((flags & ImageFlag.cut) !== 0) this.truncate(slot, this.table.cut(slot), () => undefined);
    else if ((flags & ImageFlag.allocation) !== 0) {
      const { mode, offset, length } = this.table.allocation(slot);
      this.allocate(slot, mode, offset, length, () => undefined);
    } else if ((flags & (ImageFlag.size | ImageFlag.mtime | ImageFlag.shape)) !== 0) this.settleOpened(slot);
  }

  private settleOpened(slot: InodeSlot): void {
    const image = this.open(slot);
    if (typeof image === "number") return;
    this.durability?.dropUnwritten(image);
    this.writer.settle(image);
  }

  /** See `Admission.write`. */
  write(
    slot: InodeSlot,
    offset: number,
    length: number,
    taken: Int32Array,
    defer: () => (result: number) => void,
  ): number {
    // An adopted slab's dirty blocks go home first: until then the cache takes what comes.
    if (this.through !== undefined && this.cache.blocks === 0 && (this.journaling?.ledger.isEmpty ?? true))
      return this.through.write(slot, offset, length, taken, defer());
    return this.admission.write(slot, offset, length, taken, defer);
  }

  /**
   * Reads up to `length` bytes. If frames hold them all, describes them in `iov` from entry 1 and returns the entry after
   * the last; 0 if `send` will be called instead (perhaps at once); a negated error number.
   */
  read(slot: InodeSlot, offset: number, length: number, iov: IoVector, defer: () => SendRead): number {
    const image = this.open(slot);
    if (typeof image === "number") return image;
    if (this.gates.isShut(slot)) {
      const send = defer();
      this.gates.behind(slot, () => this.readAgain(slot, offset, length, iov, send));
      return 0;
    }
    const end = Math.min(offset + length, image.size);
    if (end <= offset) return 1;
    const count = this.reader.gatherHits(image, offset, end - offset, iov);
    if (count === 0) this.reader.read(image, offset, end - offset, defer());
    return count;
  }

  private readAgain(slot: InodeSlot, offset: number, length: number, iov: IoVector, send: SendRead): void {
    const count = this.read(slot, offset, length, iov, () => send);
    if (count < 0) send(count, undefined, 0);
    else if (count > 0) send(iov.bytes(1, count), iov, count);
  }

  /** fsync or fdatasync of an image, as the durability mode has it. */
  flush(slot: InodeSlot, dataOnly: boolean, done: (result: number) => void): void {
    const image = this.open(slot);
    if (typeof image === "number") done(image);
    else if (this.durability !== undefined) this.durability.flush(image, dataOnly, done);
    else if (this.mode === "volatile") done(0);
    else this.writer.flush(image, this.ticker.tick(), dataOnly, done);
  }

  /** Flushes promise nothing of the data that they are for. */
  get flushesAtOnce(): boolean {
    if (this.durability === undefined) return this.mode === "volatile";
    return this.durability.flushesAtOnce;
  }

  /** False: writes go through to the backing files. */
  get hasCache(): boolean {
    return this.through === undefined;
  }

  /** Changes what flushes promise; `done` gets 0 when it holds, or a negated error number (EOPNOTSUPP: it takes a journal). */
  setDurability(mode: DurabilityMode, done: (result: number) => void): void {
    if (this.durability !== undefined) {
      this.durability.become(mode, done);
    } else if (mode === "ordered") {
      done(-E.EOPNOTSUPP);
    } else {
      this.mode = mode;
      if (mode === "sync") this.drain.once(done);
      else done(0);
    }
  }

  /** Takes an image home and flushes its device, whatever the durability mode. */
  flushHome(slot: InodeSlot, done: (result: number) => void): void {
    const image = this.open(slot);
    if (typeof image === "number") done(image);
    else this.takeHome(image, done);
  }

  truncate(slot: InodeSlot, size: number, done: (result: number) => void): void {
    this.onImage(slot, (image) => this.reshape.truncate(image, size), done);
  }

  /** fallocate(2). */
  allocate(slot: InodeSlot, mode: number, offset: number, length: number, done: (result: number) => void): void {
    const begin = (image: Image): Task<number> => this.reshape.allocate(image, mode, offset, length);
    if ((mode & FALLOC.PUNCH_HOLE) !== 0) this.onImage(slot, begin, done);
    else this.onImageLent(slot, length, begin, done);
  }

  /** copy_file_range(2). */
  copy(
    from: InodeSlot,
    fromOffset: number,
    to: InodeSlot,
    toOffset: number,
    length: number,
    done: (result: number) => void,
  ): void {
    const source = this.open(from);
    if (typeof source === "number") {
      done(source);
      return;
    }
    const bytes = Math.max(0, Math.min(length, source.size - fromOffset));
    if (bytes === 0) {
      done(0);
      return;
    }
    source.holds++;
    this.onImageLent(
      to,
      bytes,
      (image) => this.reshape.copy(source, fromOffset, image, toOffset, bytes),
      (outcome) => {
        source.holds--;
        done(outcome);
      },
    );
  }

  /** Begins an operation that allocates up to `bytes` at home. */
  private onImageLent(
    slot: InodeSlot,
    bytes: number,
    begin: (image: Image) => Task<number>,
    done: (result: number) => void,
  ): void {
    const image = this.open(slot);
    const ended = typeof image === "number" ? (): void => undefined : this.space.lend(image, bytes);
    this.onImage(slot, begin, (outcome) => {
      ended();
      done(outcome);
    });
  }

  private onImage(slot: InodeSlot, begin: (image: Image) => Task<number>, done: (result: number) => void): void {
    const image = this.open(slot);
    if (typeof image === "number") {
      done(image);
      return;
    }
    image.holds++;
    runTask(begin(image), (outcome) => {
      image.holds--;
      done(outcome);
    });
  }

  /** lseek(2) with SEEK_DATA or SEEK_HOLE. */
  seek(slot: InodeSlot, offset: number, whence: number): number {
    const image = this.open(slot);
    if (typeof image === "number") return image;
    const at = this.options.counters.at;
    const version = at[Counter.writeBlocks]! + at[Counter.absorbedDiscardBlocks]! + at[Counter.writebackBlocks]!;
    return this.seeker.seek(image, offset, whence, version);
  }

  // ImageData, for namespace operations.

  isDirty(slot: InodeSlot): boolean {
    const image = this.images.get(slot);
    if (image === undefined) return (this.table.flags(slot) & UNSETTLED) !== 0;
    return !this.isSettled(image);
  }

  dirtyBlocks(slot: InodeSlot): number {
    return this.images.get(slot)?.blocks ?? 0;
  }

  discard(slot: InodeSlot, done: () => void): void {
    const { durability } = this;
    if (durability === undefined) {
      this.dropAll(slot, done);
      return;
    }
    this.table.setFlags(slot, this.table.flags(slot) | ImageFlag.dropped);
    durability.leaving(slot);
    this.dropAll(slot, () => durability.gone(slot, done));
  }

  release(slot: InodeSlot, done: (isReleased: boolean) => void): void {
    const opened = this.durability?.isNamed(slot) === true ? this.open(slot) : this.images.get(slot);
    const image = typeof opened === "number" ? undefined : opened;
    if (image === undefined) {
      this.table.setFlags(slot, this.table.flags(slot) & KEPT_BY_CLOSED);
      this.journaling?.forget(slot);
      done(true);
    } else if (this.mayClose(image)) this.closeAlone(image, done);
    else
      this.takeHome(image, (result) => {
        if (result < 0) this.later(done);
        else this.closeAlone(image, done);
      });
  }

  /** Tells who wants an image released that it is not; in a while, since that one will ask again. */
  private later(done: (isReleased: boolean) => void): void {
    this.options.timers.at(this.options.clock.nowUs() + RELEASE_RETRY_US, () => done(false));
  }

  /** Closes it if that is still right when nothing names its file: somebody may have found it again, and have written it. */
  private closeAlone(image: Image, done: (isReleased: boolean) => void): void {
    if (this.images.get(image.slot) !== image) {
      this.later(done); // dropped meanwhile
      return;
    }
    const close = (): boolean => {
      if (this.images.get(image.slot) !== image) return false;
      const isWanted = image.holds > 0 || this.writer.home(image).isAwaited;
      if (isWanted || !this.isSettled(image) || !this.mayClose(image)) return false;
      image.clearFlag(ImageFlag.failing | ImageFlag.shape);
      this.images.close(image);
      this.journaling?.forget(image.slot);
      return true;
    };
    runTask(
      this.gates.alone(image, function* () {
        yield (resume) => resume(undefined);
        return close();
      }),
      (isClosed) => (isClosed ? done(true) : this.later(done)),
    );
  }

  private dropAll(slot: InodeSlot, done: () => void): void {
    const image = this.images.get(slot);
    if (image === undefined) {
      this.table.setFlags(slot, this.table.flags(slot) & KEPT_BY_CLOSED);
      done();
      return;
    }
    const drop = (): boolean => {
      if (this.images.get(slot) !== image) return false; // closed before the gate was ours
      this.cache.dropFrom(image, asBlock(0));
      image.clearFlag(ImageFlag.size | ImageFlag.mtime | ImageFlag.failing | ImageFlag.shape);
      this.images.close(image);
      return true;
    };
    runTask(
      this.gates.alone(image, function* () {
        yield (resume) => resume(undefined);
        return drop();
      }),
      (isDropped) => (isDropped ? done() : this.dropAll(slot, done)),
    );
  }

  whenClean(slot: InodeSlot, clean: () => void): void {
    const image = this.open(slot);
    if (typeof image === "number") {
      this.table.setFlags(slot, this.table.flags(slot) & KEPT_BY_CLOSED); // no block waits, or it would be open
      clean();
      return;
    }
    const home = this.writer.home(image);
    home.whenClean(clean);
    if (!this.isSettled(image)) home.flush(this.ticker.tick(), true, () => undefined);
  }

  besides(slot: InodeSlot, change: () => number): number {
    const image = this.images.get(slot);
    this.durability?.changing();
    return image === undefined ? change() : keepingNote(image, change);
  }

  attributesChanged(slot: InodeSlot): void {
    const image = this.images.get(slot);
    if (image !== undefined) image.shapeChanges++;
  }

  mtimeSet(slot: InodeSlot, seconds: number, nanoseconds: number): void {
    this.durability?.timeSet(slot, seconds);
    const flags = this.table.flags(slot);
    if ((flags & ImageFlag.mtime) === 0) return;
    this.table.setFlags(slot, flags | ImageFlag.given);
    this.table.setMtime(slot, seconds, nanoseconds);
  }

  /** I/O has ended: begins at once what flushes have waited for. Called before requests are served. */
  hasten(): void {
    if (this.durability?.isAnswering === true) this.durability.pump();
  }

  /** Begins what may begin. Called once a turn of the loop, after completions were handled. */
  pump(): void {
    this.gates.pump();
    this.writer.devices.measure(this.cache.blocks);
    this.giveFrames();
    this.admission.pump();
    this.giveFrames(); // what was put aside has left some
    this.durability?.pump();
    this.writer.pump();
    this.drain.pump();
  }

  private giveFrames(): void {
    while (this.frameWaiters.length > 0 && this.cache.allocator.readyForOne()) this.frameWaiters.shift()!();
  }

  /** Writes that wait for the dirty curve. */
  get delayedWrites(): number {
    return this.admission.waiting;
  }

  /** When `pump` has something to do without any I/O ending first; microseconds on the clock. */
  get nextUs(): number {
    return Math.min(this.writer.nextAgeUs, this.durability?.nextUs ?? Number.POSITIVE_INFINITY);
  }
}
