/**
 * One image's way home: who waits for its flush, its device flushes, its errors and retries.
 *
 * A flush request with instant `s` is answered when every block dirty since `s` or before has been written home, and a device
 * flush that began after that has succeeded. Requests that wait together share one device flush. If a home write or the
 * device flush fails, all that wait get the error; the data stays dirty and is tried again, with growing pauses, or at
 * once when the next flush comes.
 *
 * An image that falls clean lingers: its time of modification is set at home, and its note changed, only when it has been quiet for
 * a while, or somebody waits for it. From Linux 6.13 on a file whose time was set or looked at gets a new one with its next
 * write, and the flush after that writes the inode beside the data.
 */
import { HOME_QUIET_US, RETRY_US_FIRST, RETRY_US_LAST } from "../base/limits.ts";
import type { Timer, Timers } from "../base/timers.ts";
import { asInstant, type Instant } from "../base/units.ts";
import { FrameState, NONE } from "../cache/frames.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import { differenceOf, dropNote, loosenNote, noteHome, noteSize } from "../cache/note.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import { Counter, type Counters } from "../stats/counters.ts";
import type { Io } from "../sys/io.ts";
import type { HomeDevice } from "./devices.ts";
import { Growth } from "./growth.ts";
import { Lanes } from "./lanes.ts";
import { Sweep } from "./sweep.ts";

/** What all images' homes share. */
export interface HomeContext {
  readonly cache: WriteCache;
  readonly io: Io;
  readonly counters: Counters;
  readonly timers: Timers;
  nowUs(): number;
  /** A home operation of `image` failed with a negated error number: tell people. */
  failed(image: Image, what: string, result: number): void;
  /** Somebody else has changed the file of `image` beneath its dirty data, which goes over it: tell people how. */
  changed(image: Image, difference: string): void;
  /** Nothing of `image` is dirty any more, and its size and time are home. */
  settled(image: Image): void;
  /** A device flush of the image's home file begins, and ends; `image.shapeUnflushed` tells whether it was one of its shape too. */
  flushing(image: Image): void;
  flushed(image: Image, succeeded: boolean): void;
}

/** Of a flush that waits for the next device flush, whatever is dirty. */
export const NOTHING_DIRTY = asInstant(0);

interface Waiter {
  since: Instant;
  dataOnly: boolean;
  done: (result: number) => void;
}

export class ImageHome {
  readonly image: Image;
  readonly device: HomeDevice;
  /** Nothing is heard of it for long, as told to people. */
  isStalled = false;
  /** When the device flush that is under way began; Infinity without one. */
  private flushBeganUs = Number.POSITIVE_INFINITY;
  /** Blocks chosen for the flush that is waited for. */
  readonly sweep = new Sweep();
  readonly lanes = new Lanes();
  readonly growth: Growth;
  /** Home writes wait until then after an error; 0: no error. */
  retryAtUs = 0;
  private retryDelayUs = 0;
  private retryTimer: Timer | undefined;
  private waiters: Waiter[] = [];
  private cleanWaiters: (() => void)[] = [];
  /** When nothing of ours was last under way any more, and what looks whether that lasts. */
  private restedAtUs = 0;
  private restTimer: Timer | undefined;
  /** A device flush is under way. */
  flushActive = false;
  /** Its descriptors are gone, perhaps in the middle of what one of its waiters did when it was told. */
  private isClosed = false;
  /** Device flushes that failed: they may have taken with them what was being written meanwhile. */
  failedFlushes = 0;
  private readonly context: HomeContext;
  /** Tells the writer that a flush waits for dirty blocks. */
  private readonly hurry: (home: ImageHome) => void;

  constructor(image: Image, device: HomeDevice, context: HomeContext, hurry: (home: ImageHome) => void) {
    this.image = image;
    this.device = device;
    this.context = context;
    this.hurry = hurry;
    this.growth = new Growth(image, context.io, this.lanes, () => context.cache.commits.homeLimit(image));
  }

  /** Since when nothing is heard of what is under way at home, but for writes; Infinity without any. */
  get quietSinceUs(): number {
    const { homeReads, readsHeardUs, shapingSinceUs } = this.image;
    const quietSinceUs = Math.min(this.flushBeganUs, shapingSinceUs);
    return homeReads > 0 ? Math.min(readsHeardUs, quietSinceUs) : quietSinceUs;
  }

  /** Asks for a flush of all that was written up to `since`. */
  flush(since: Instant, dataOnly: boolean, done: (result: number) => void): void {
    this.waiters.push({ since, dataOnly, done });
    if (this.retryAtUs !== 0) this.retryNow();
    this.advance();
    if (this.isUrgent) this.hurry(this);
  }

  /** Runs `clean` when nothing is dirty and size and mtime are home. */
  whenClean(clean: () => void): void {
    this.cleanWaiters.push(clean);
    this.settle();
  }

  /** The newest instant that a waiting flush covers, or 0. */
  get wantedSince(): number {
    return this.waiters.reduce((newest, { since }) => Math.max(newest, since), 0);
  }

  /** True while a flush waits for blocks that are still dirty. */
  get isUrgent(): boolean {
    return this.waiters.length > 0 && !this.isHome(this.wantedSince);
  }

  /** A flush waits. */
  get isAwaited(): boolean {
    return this.waiters.length > 0;
  }

  get isBackingOff(): boolean {
    return this.retryAtUs !== 0;
  }

  /** No home write may begin: what is chosen is passed over, and listed again when that ends. */
  get isPaused(): boolean {
    return this.isBackingOff || this.image.isHomeShut;
  }

  /** True if no block that was dirty at `since` is still on its way. */
  private isHome(since: number): boolean {
    const oldest = this.image.dirty.head;
    return oldest === NONE || this.context.cache.frames.since(oldest) > since;
  }

  /** Something went home: begins the device flush that waiters are ready for. */
  advance(): void {
    if (this.flushActive || this.image.isHomeShut || this.isClosed) return;
    const group = this.waiters.filter((waiter) => this.isHome(waiter.since));
    if (group.length === 0) return;
    this.waiters = this.waiters.filter((waiter) => !group.includes(waiter));
    const dataOnly = group.every((waiter) => waiter.dataOnly);
    // A block beyond the end is home without any write, and the journal may have an older one of it, to be voided when that is durable.
    const isFlushed = !this.image.unflushed && this.image.written.count === 0;
    if (dataOnly && isFlushed && this.image.homeSize >= this.image.size) {
      for (const waiter of group) waiter.done(0);
      return;
    }
    this.flushDevice(dataOnly, (result) => {
      for (const waiter of group) waiter.done(result);
    });
  }

  /** Makes what is written home durable, and frees it. One at a time; callers check `flushActive`. */
  flushDevice(dataOnly = true, done: (result: number) => void = () => undefined): void {
    this.flushActive = true;
    this.flushBeganUs = this.context.nowUs();
    this.device.watch();
    const { image } = this;
    if (image.dirty.count === 0 && image.homeSize < image.size) {
      const size = image.size;
      const refused = image.file.makeWritable();
      if (refused < 0) {
        this.endDeviceFlush(refused, done);
        return;
      }
      loosenNote(image);
      this.growth.to(size, (result) => {
        if (result < 0) this.endDeviceFlush(result, done);
        else this.startDeviceFlush(dataOnly, done);
      });
      return;
    }
    this.startDeviceFlush(dataOnly, done);
  }

  private startDeviceFlush(dataOnly: boolean, done: (result: number) => void): void {
    this.context.cache.beginFlush(this.image);
    this.image.unflushed = false;
    const { shapeChanges, shapeDurable } = this.image;
    const covers = dataOnly ? shapeDurable : shapeChanges;
    this.context.flushing(this.image);
    this.context.io.fsync(this.image.file.buffered, dataOnly, (result) => {
      if (result === 0) this.image.shapeFlushed(covers);
      this.endDeviceFlush(result, done);
    });
  }

  private endDeviceFlush(result: number, done: (result: number) => void): void {
    this.flushActive = false;
    this.flushBeganUs = Number.POSITIVE_INFINITY;
    this.context.counters.at[Counter.homeFlushes]! += 1;
    this.context.cache.endFlush(this.image, result === 0);
    this.context.flushed(this.image, result === 0);
    if (result < 0) {
      this.image.unflushed = true;
      this.failedFlushes++;
      this.fail("flush", result);
    } else if (this.image.dirty.count === 0) {
      this.succeed();
    }
    if (this.image.blocks > 0) this.rest();
    done(result);
    this.advance();
    this.settle();
  }

  private get isAtRest(): boolean {
    return this.image.homeWrites === 0 && !this.flushActive && !this.image.isHomeShut;
  }

  /** If blocks are still dirty and nothing of ours is under way, the file is from now on as it is now. */
  note(): void {
    if (this.image.blocks > 0 && this.isAtRest) noteHome(this.image);
  }

  /** Something of ours has ended, perhaps the last for a while. */
  private rest(): void {
    this.restedAtUs = this.context.nowUs();
    this.restTimer ??= this.context.timers.at(this.restedAtUs + HOME_QUIET_US, () => this.look());
  }

  private look(): void {
    const dueUs = this.restedAtUs + HOME_QUIET_US;
    this.restTimer = this.context.nowUs() < dueUs ? this.context.timers.at(dueUs, () => this.look()) : undefined;
    if (this.restTimer !== undefined) return;
    this.note(); // or, if it is clean:
    this.settle(true); // what is under way comes to rest once more
  }

  /** Home writes are about to begin. */
  begin(): void {
    const { image } = this;
    const difference = image.hasFlag(ImageFlag.firm) ? differenceOf(image) : undefined;
    if (difference !== undefined) this.context.changed(image, difference);
    loosenNote(image);
  }

  /** A home operation failed: waiters are told, and a pause begins. */
  fail(what: string, result: number): void {
    this.image.countError();
    this.image.setFlag(ImageFlag.failing);
    this.image.lastError = result;
    this.context.counters.at[Counter.writebackErrors]! += 1;
    this.context.failed(this.image, what, result);
    this.sweep.clear();
    const waiters = this.waiters;
    this.waiters = [];
    this.retryDelayUs = Math.min(Math.max(this.retryDelayUs * 2, RETRY_US_FIRST), RETRY_US_LAST);
    this.retryAtUs = this.context.nowUs() + this.retryDelayUs;
    if (this.retryTimer !== undefined) this.context.timers.cancel(this.retryTimer);
    this.retryTimer = this.context.timers.at(this.retryAtUs, () => this.retry());
    for (const waiter of waiters) waiter.done(result);
  }

  /** A whole pass went well. */
  private succeed(): void {
    this.image.clearFlag(ImageFlag.failing);
    this.image.lastError = 0;
    this.retryDelayUs = 0;
  }

  /** The pause is over: all goes home as if somebody waited for it, or an image that failed once might refuse writes for ever. */
  private retry(): void {
    this.retryNow();
    this.flush(asInstant(this.context.nowUs()), true, () => undefined);
  }

  private retryNow(): void {
    if (this.retryTimer !== undefined) this.context.timers.cancel(this.retryTimer);
    this.retryTimer = undefined;
    this.retryAtUs = 0;
    this.relist();
    this.settle();
  }

  /** Blocks that the background writer passed over while the image paused or was gated are its victims again. */
  relist(): void {
    const { cache } = this.context;
    for (let frame = this.image.dirty.head; frame !== NONE; frame = this.image.dirty.after(frame)) {
      if (cache.frames.state(frame) === FrameState.dirty) cache.offer(this.image, frame);
    }
  }

  /** If nothing is dirty: brings the size home, and the mtime `atOnce` or when it has been quiet; tells who waited for both. */
  settle(atOnce = false): void {
    const { image } = this;
    if (image.blocks !== 0 || !this.isAtRest || this.isBackingOff || this.isClosed) return;
    if (image.homeSize < image.size) {
      this.flushDevice();
      return;
    }
    if (!atOnce && this.cleanWaiters.length === 0 && image.hasFlag(ImageFlag.mtime)) this.linger();
    else this.finish();
  }

  private linger(): void {
    const { image } = this;
    noteSize(image);
    if (image.hasFlag(ImageFlag.size)) image.clearFlag(ImageFlag.size);
    this.rest();
  }

  private finish(): void {
    const { image } = this;
    dropNote(image);
    if (image.hasFlag(ImageFlag.mtime)) {
      const { seconds, nanoseconds } = image.mtime;
      image.file.setModificationTime(seconds, nanoseconds);
    }
    image.clearFlag(ImageFlag.mtime | ImageFlag.given | ImageFlag.size);
    this.context.settled(image);
    const waiters = this.cleanWaiters;
    this.cleanWaiters = [];
    for (const clean of waiters) clean();
  }

  /** The image is about to be forgotten: whoever still waits for it has nothing to wait for. */
  close(): void {
    this.isClosed = true;
    for (const timer of [this.retryTimer, this.restTimer]) if (timer !== undefined) this.context.timers.cancel(timer);
    for (const waiter of this.waiters.splice(0)) waiter.done(0);
    for (const clean of this.cleanWaiters.splice(0)) clean();
  }
}
