/**
 * Writes on their way into the cache. Most are published at once. One is parked, with its landed frames, while a gate is
 * shut, while the dirty curve delays it or the ceiling is reached, or while a block it covers in part must first be
 * completed from home.
 */

import type { Ticker } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { Fifo } from "../base/fifo.ts";
import { FAILING_SHARE } from "../base/limits.ts";
import type { Timers } from "../base/timers.ts";
import { asBlock, BLOCK_BYTES, blocksTouched, type FrameNo, type InodeSlot } from "../base/units.ts";
import { NONE } from "../cache/frames.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import type { Slab } from "../cache/slab.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import { Counter, type Counters } from "../stats/counters.ts";
import { SEEK_SET } from "../sys/constants.ts";
import type { Pressure } from "../writeback/pressure.ts";
import { FairLine } from "./fair-line.ts";
import type { Gates } from "./gates.ts";
import type { Reader } from "./reader.ts";
import type { Space } from "./space.ts";
import { Spill } from "./spill.ts";

/** The write was parked: its `done` will be called. */
export const PARKED = Number.POSITIVE_INFINITY;

export interface AdmissionContext {
  readonly cache: WriteCache;
  readonly slab: Slab;
  readonly counters: Counters;
  readonly pressure: Pressure;
  readonly ticker: Ticker;
  readonly timers: Timers;
  readonly gates: Gates;
  readonly space: Space;
  readonly reader: Reader;
  nowUs(): number;
  /** The image at `slot`, opened if need be, or a negated error number. */
  open(slot: InodeSlot): Image | number;
  /** No further block may come before some are committed. */
  isFull(): boolean;
  /** A write to bytes `offset` to `end` - 1 of `image` must wait for others to go home. */
  isHeld(image: Image, offset: number, end: number): boolean;
  /** Images lie on more than one device. */
  hasSeveralDevices(): boolean;
  /** The device that `image` lies on is crowding. */
  isCrowding(image: Image): boolean;
  /** Blocks of images whose home writes fail. */
  failingBlocks(): number;
  /** Called with each write that is about to be published, and the offset of its end. */
  growing(image: Image, end: number): void;
}

interface ParkedWrite {
  slot: InodeSlot;
  offset: number;
  length: number;
  frames: Int32Array;
  /** The delay is served. */
  waited: boolean;
  parkedAtUs: number;
  /** Blocks whose frame was filled up from home, and the stamp of the frame that was current then. */
  completed: Map<number, number>;
  done: (result: number) => void;
}

/** The writes of one class are let in one after the other. */
interface Turn {
  /** When the delay of the last write that was let in was over. */
  pacedUs: number;
  /** The write that is next, and when its own delay is over. */
  head: ParkedWrite | undefined;
  dueUs: number;
}

const NOTHING: readonly ParkedWrite[] = [];

export class Admission {
  private readonly context: AdmissionContext;
  /** Waiting for the delay or for room. */
  private readonly line = new FairLine<ParkedWrite>();
  /** Payloads of those that wait, when their frames are wanted. */
  private readonly spill: Spill;
  /** Waiting for blocks of their own images to go home. */
  private readonly held = new Fifo<ParkedWrite>();
  /** Waiting behind gates. */
  private readonly behind = new Set<ParkedWrite>();
  private readonly brisk: Turn = { pacedUs: 0, head: undefined, dueUs: 0 };
  private readonly ordinary: Turn = { pacedUs: 0, head: undefined, dueUs: 0 };
  /** When a timer looks again; Infinity: none is set. */
  private wakesAtUs = Number.POSITIVE_INFINITY;

  constructor(context: AdmissionContext) {
    this.context = context;
    this.spill = new Spill({ ...context, allocator: context.cache.allocator });
  }

  /** Writes that wait for delay or room. */
  get waiting(): number {
    return this.line.length;
  }

  /**
   * Takes a write whose payload lies in `taken`, one frame a block, each byte where it lies in its block. The bytes taken,
   * a negated error number (then the frames are free again), or PARKED (then `defer` was asked for the way to answer).
   */
  write(
    slot: InodeSlot,
    offset: number,
    length: number,
    taken: Int32Array,
    defer: () => (result: number) => void,
  ): number {
    const { cache, counters, gates, pressure } = this.context;
    const blocks = blocksTouched(offset, length);
    const opened = this.context.open(slot);
    if (typeof opened === "number") return this.refuse(taken, blocks, opened);
    const gated = gates.isShut(slot);
    const isBrisk = this.isBrisk(slot);
    const crowded =
      this.line.length > 0 ||
      pressure.delayUs(cache.blocks, blocks, isBrisk) > 0 ||
      !pressure.hasRoom(cache.blocks, blocks, isBrisk) ||
      this.context.isFull();
    const clash = !gated && cache.blockToComplete(slot, offset, length) !== -1;
    const held = this.context.isHeld(opened, offset, offset + length);
    if (!gated && !crowded && !clash && !held) {
      const result = this.prepare(opened, offset, length);
      if (result < 0) return this.refuse(taken, blocks, result);
      this.publish(opened, offset, length, taken);
      return length;
    }
    const parked: ParkedWrite = {
      slot,
      offset,
      length,
      frames: taken.slice(0, blocks),
      waited: !crowded,
      parkedAtUs: this.context.nowUs(),
      completed: new Map(),
      done: defer(),
    };
    if (crowded || held) counters.at[Counter.delayedWrites]! += 1;
    this.proceed(parked);
    return PARKED;
  }

  private refuse(frames: Int32Array, count: number, result: number): number {
    if (this.spill.drop(frames) !== undefined) return result;
    for (let i = 0; i < count; i++) this.context.cache.allocator.release(frames[i] as FrameNo);
    return result;
  }

  /** Takes a parked write as far as it can go now. */
  private proceed(write: ParkedWrite): void {
    const { gates, counters } = this.context;
    if (gates.isShut(write.slot)) {
      write.completed.clear(); // what is home may change behind the gate
      this.behind.add(write);
      gates.behind(write.slot, () => {
        this.behind.delete(write);
        this.proceed(write);
      });
      return;
    }
    // Many may have come behind a gate: together they would be more than the journal has room for, and could go nowhere.
    if (!write.waited || this.context.isFull()) {
      this.enqueue(write);
      return;
    }
    const image = this.context.open(write.slot);
    if (typeof image === "number") {
      write.done(this.refuse(write.frames, write.frames.length, image));
      return;
    }
    if (this.context.isHeld(image, write.offset, write.offset + write.length)) {
      this.held.push(write);
      return;
    }
    if (this.spill.has(write.frames)) {
      this.enqueue(write); // there it gets frames again
      return;
    }
    const block = this.uncompleted(write);
    if (block !== -1) {
      this.complete(write, image, block);
      return;
    }
    const result = this.prepare(image, write.offset, write.length);
    if (result < 0) {
      write.done(this.refuse(write.frames, write.frames.length, result));
      return;
    }
    const completed = write.completed.size > 0 ? new Set(this.stillCompleted(write)) : undefined;
    this.publish(image, write.offset, write.length, write.frames, completed);
    counters.at[Counter.delayedUs]! += this.context.nowUs() - write.parkedAtUs;
    write.done(write.length);
  }

  /** Last checks that can refuse a write: a file that can't be written, the filesystem's largest, the share of failing images, room. */
  private prepare(image: Image, offset: number, length: number): number {
    const { pressure, space } = this.context;
    const refused = image.file.makeWritable();
    if (refused < 0) return refused;
    if (offset + length > image.reach && !reaches(image, offset + length)) return -E.EFBIG;
    const mostFailing = pressure.limit * FAILING_SHARE;
    if (image.hasFlag(ImageFlag.failing) && image.blocks > 0 && this.context.failingBlocks() > mostFailing)
      return -E.EIO;
    return space.reserve(image, offset, length);
  }

  private publish(
    image: Image,
    offset: number,
    length: number,
    frames: Int32Array,
    completed?: ReadonlySet<number>,
  ): void {
    const { cache, counters, ticker } = this.context;
    // The size comes first: bytes beyond it, left by a kill in between, would show when the image grows.
    this.context.growing(image, offset + length);
    cache.publish(image, offset, length, frames, ticker.tick(), completed);
    counters.at[Counter.writeRequests]! += 1;
    counters.at[Counter.writeBytes]! += length;
    counters.at[Counter.writeBlocks]! += blocksTouched(offset, length);
  }

  private enqueue(write: ParkedWrite): void {
    const turn = this.hasClasses && this.isBrisk(write.slot) ? this.brisk : this.ordinary;
    if (this.headOf(turn) === undefined) turn.pacedUs = this.context.nowUs();
    this.line.push(write.slot, write.frames.length, write);
    this.pumpLine();
  }

  private delayOf(write: ParkedWrite): number {
    return this.context.pressure.delayUs(this.context.cache.blocks, write.frames.length, this.isBrisk(write.slot));
  }

  private hasRoom(write: ParkedWrite): boolean {
    return this.context.pressure.hasRoom(this.context.cache.blocks, write.frames.length, this.isBrisk(write.slot));
  }

  /** A device is crowding, and it is not that of this image. */
  private isBrisk(slot: InodeSlot): boolean {
    if (this.context.pressure.crowding === 0) return false;
    const image = this.context.open(slot);
    return typeof image !== "number" && !this.context.isCrowding(image);
  }

  /** Lets writes in whose delay is over and for which there is room. Called once a turn of the loop. */
  pump(): void {
    for (let left = this.held.length; left > 0; left--) this.proceed(this.held.shift()!);
    this.pumpLine();
    const isAnyParked = this.line.length + this.held.length + this.behind.size > 0;
    this.spill.relieve(isAnyParked ? this.parked() : NOTHING, ({ slot }) => this.isBrisk(slot));
  }

  private pumpLine(): void {
    if (this.hasClasses) this.pumpTurn(this.brisk);
    else this.context.pressure.briskDemand = 0;
    this.pumpTurn(this.ordinary);
  }

  private pumpTurn(turn: Turn): void {
    for (;;) {
      const head = this.headOf(turn);
      if (turn === this.brisk) this.context.pressure.briskDemand = head?.frames.length ?? 0;
      else this.context.pressure.demand = head?.frames.length ?? 0;
      if (head !== turn.head) turn.dueUs = head === undefined ? 0 : turn.pacedUs + this.delayOf(head);
      turn.head = head;
      if (head === undefined) return;
      if (this.context.isFull()) return;
      if (!this.hasRoom(head)) {
        if (this.failsForGood(head)) continue;
        return;
      }
      const now = this.context.nowUs();
      if (now < turn.dueUs) {
        this.wake(turn.dueUs);
        return;
      }
      if (this.spill.has(head.frames) && !this.spill.give(head.frames, this.parked())) return;
      this.line.shift();
      turn.pacedUs = now;
      head.waited = true;
      this.proceed(head);
    }
  }

  /** A device is crowding, and there are others, whose writes do not wait for its. */
  private get hasClasses(): boolean {
    return this.context.pressure.crowding > 0 && this.context.hasSeveralDevices();
  }

  /** What is next in line of those whose turn it is. */
  private headOf(turn: Turn): ParkedWrite | undefined {
    if (!this.hasClasses) return this.line.head;
    return this.line.first(({ slot }) => this.isBrisk(slot) === (turn === this.brisk));
  }

  /** Writes wait, and not only for a device that is crowding: what others do may help. */
  get isCrowded(): boolean {
    return this.line.length > 0 && (!this.hasClasses || this.context.pressure.briskDemand > 0);
  }

  /** All that waits, but for what is being completed from home. */
  private *parked(): Generator<ParkedWrite> {
    yield* this.line.items();
    yield* this.behind;
    yield* this.held;
  }

  /** No room, and the image that wants it is the one whose data cannot go home: it gets the error instead of waiting. */
  private failsForGood(head: ParkedWrite): boolean {
    const image = this.context.open(head.slot);
    if (typeof image !== "number" && !(image.hasFlag(ImageFlag.failing) && image.blocks > 0)) return false;
    this.line.shift();
    head.done(this.refuse(head.frames, head.frames.length, typeof image === "number" ? image : -E.EIO));
    return true;
  }

  private wake(atUs: number): void {
    if (this.wakesAtUs <= atUs) return;
    this.wakesAtUs = atUs;
    this.context.timers.at(atUs, () => {
      this.wakesAtUs = Number.POSITIVE_INFINITY;
    });
  }

  /** A block of the write that must be completed and is not, or whose frame has changed since it was. */
  private uncompleted(write: ParkedWrite): number {
    const { cache } = this.context;
    const first = Math.floor(write.offset / BLOCK_BYTES);
    const last = Math.floor((write.offset + write.length - 1) / BLOCK_BYTES);
    for (const block of first === last ? [first] : [first, last]) {
      const from = Math.max(write.offset, block * BLOCK_BYTES);
      const to = Math.min(write.offset + write.length, (block + 1) * BLOCK_BYTES);
      if (cache.blockToComplete(write.slot, from, to - from) === -1) continue;
      if (write.completed.get(block) !== this.stampOf(write.slot, block)) return block;
    }
    return -1;
  }

  private stillCompleted(write: ParkedWrite): number[] {
    return [...write.completed]
      .filter(([block, stamp]) => this.stampOf(write.slot, block) === stamp)
      .map(([block]) => block);
  }

  /** The stamp of the block's newest frame; -1 without one. A frame's number may come again, its stamp does not. */
  private stampOf(slot: InodeSlot, block: number): number {
    const { cache } = this.context;
    const frame = cache.find(slot, asBlock(block));
    return frame === NONE ? -1 : cache.frames.stamp(frame);
  }

  /**
   * Fills the write's frame of `block` with what is home, around its own bytes. The frame that is there now is pinned and
   * remembered: if it is another by then, home may have changed too, and the block is read again.
   */
  private complete(write: ParkedWrite, image: Image, block: number): void {
    const { cache, reader, slab } = this.context;
    const current = cache.find(write.slot, asBlock(block));
    const stamp = this.stampOf(write.slot, block);
    if (current !== NONE) cache.pin(current);
    reader.readBlock(image, asBlock(block), (result, home) => {
      if (current !== NONE) cache.unpin(current);
      if (result < 0) {
        write.done(this.refuse(write.frames, write.frames.length, result));
        return;
      }
      const frame = write.frames[block - Math.floor(write.offset / BLOCK_BYTES)] as FrameNo;
      const low = Math.max(write.offset - block * BLOCK_BYTES, 0);
      const high = Math.min(write.offset + write.length - block * BLOCK_BYTES, BLOCK_BYTES);
      const at = slab.frameIndex(frame);
      slab.frameView(frame).set(home.subarray(0, low), at);
      slab.frameView(frame).set(home.subarray(high), at + high);
      write.completed.set(block, stamp);
      this.proceed(write);
    });
  }
}

/** True if the backing filesystem lets a file grow to `end` bytes: it would refuse the home write. Asked anew when the size has doubled. */
function reaches(image: Image, end: number): boolean {
  for (const size of [2 * end, end]) {
    if (size > Number.MAX_SAFE_INTEGER || image.file.seek(size, SEEK_SET) === -E.EINVAL) continue;
    image.reach = size;
    return true;
  }
  return false;
}
