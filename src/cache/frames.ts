/**
 * The frame table: what each frame of the slab holds. One row of 64 bytes a frame, a cache line: a write of one block touches
 * a handful of rows all over the table, and each costs a miss.
 *
 *    0 f64 block     number within the image              24 u32 image   inode slot
 *    8 f64 stamp     instant of the write that made it,    28 u16 low     the valid bytes are low to high - 1,
 *                    microseconds; unique, so it orders    30 u16 high    unless sectors is not 0
 *   16 f64 since     instant since which the block has     32 u8 sectors  bit n: sector n (512 bytes) is valid;
 *                    had bytes that are not home                          then low and high mean nothing
 *   33 u8  state     FrameState; the store that makes      34 u16 pins    reads and home writes that use the bytes
 *                    or ends a frame is this one           36 i32 chain   next frame in the index's bucket
 *   40 i32 previous, 44 i32 next      neighbours in one of the image's lists
 *   48 two i32 of the policy          56 i32 head: first frame of the index's bucket of this number
 *   60 u32 commit  what the journal has of these bytes: 0 nothing, UNDERWAY, HOMED, or `commitMark` of the sequence that has them
 *
 * All lie in the slab; from `since` and `pins` on they are made anew by the next engine.
 *
 *   free -> (landing, staged) -> dirty -> inflight -> written -> flushing -> free
 *                                  |         |           |          |
 *                                  +---------+-----------+----------+-> doomed (superseded or dropped, in use) -> free
 */
import { assert } from "../base/assert.ts";
import { FRAME_METADATA_BYTES_MAX } from "../base/limits.ts";
import {
  asFrame,
  BLOCK_BYTES,
  type BlockNo,
  type FrameNo,
  type InodeSlot,
  type Instant,
  SECTOR_BYTES,
} from "../base/units.ts";
import { FRAME_ROW_BYTES } from "./slab.ts";

export const FrameState = {
  /** Unused, or landed and not yet published: nothing of value. */
  free: 0,
  /** Accepted, not home. */
  dirty: 1,
  /** Dirty, and a home write reads it. */
  inflight: 2,
  /** Written home, not yet flushed there: kept until the device has vouched for it. */
  written: 3,
  /** Written home, and a device flush that covers it is under way. */
  flushing: 4,
  /** Superseded or dropped, while a home write or a reader still uses it; freed with its last pin. */
  doomed: 5,
} as const;

/** A frame's commit is being written. */
export const UNDERWAY = 0xffffffff;
/** It is, and the frame has become durable at home. Or it was, and the same commit says that the block is to go. */
export const HOMED = 0xfffffffe;

/** No frame: ends of lists, misses. */
export const NONE = asFrame(-1);

/** Bytes of a row, and so of metadata a frame costs. */
export const ROW_BYTES = FRAME_ROW_BYTES;
assert(ROW_BYTES <= FRAME_METADATA_BYTES_MAX, "metadata a frame is bounded");

/** A row in 64-, 32-, 16- and 8-bit units, and where fields lie in them. */
const F64S = ROW_BYTES / 8;
export const WORDS = ROW_BYTES / 4;
const U16S = ROW_BYTES / 2;
const F64 = { block: 0, stamp: 1, since: 2 } as const;
export const Word = { image: 6, chain: 9, previous: 10, next: 11, policy: 12, head: 14, commit: 15 } as const;
const U16 = { low: 14, high: 15, pins: 17 } as const;
const U8 = { sectors: 32, state: 33 } as const;

export class FrameTable {
  readonly count: number;
  /** The rows as 32-bit words, for lists, index and policy. */
  readonly words: Int32Array;
  private readonly f64s: Float64Array;
  private readonly u16s: Uint16Array;
  private readonly u8s: Uint8Array;

  /** `rows`: `count` rows, zero or an earlier engine's. */
  constructor(count: number, rows: ArrayBuffer) {
    this.count = count;
    this.words = new Int32Array(rows, 0, count * WORDS);
    this.f64s = new Float64Array(rows, 0, count * F64S);
    this.u16s = new Uint16Array(rows, 0, count * U16S);
    this.u8s = new Uint8Array(rows, 0, count * ROW_BYTES);
    for (let frame = 0; frame < count; frame++) {
      this.u16s[frame * U16S + U16.pins] = 0;
      this.words.fill(NONE, frame * WORDS + Word.chain, frame * WORDS + Word.policy);
      this.words[frame * WORDS + Word.head] = NONE;
    }
  }

  image(frame: FrameNo): InodeSlot {
    return this.words[frame * WORDS + Word.image] as InodeSlot;
  }

  block(frame: FrameNo): BlockNo {
    return this.f64s[frame * F64S + F64.block] as BlockNo;
  }

  stamp(frame: FrameNo): Instant {
    return this.f64s[frame * F64S + F64.stamp] as Instant;
  }

  since(frame: FrameNo): Instant {
    return this.f64s[frame * F64S + F64.since] as Instant;
  }

  setSince(frame: FrameNo, since: Instant): void {
    this.f64s[frame * F64S + F64.since] = since;
  }

  state(frame: FrameNo): number {
    return this.u8s[frame * ROW_BYTES + U8.state]!;
  }

  setState(frame: FrameNo, state: number): void {
    this.u8s[frame * ROW_BYTES + U8.state] = state;
  }

  pins(frame: FrameNo): number {
    return this.u16s[frame * U16S + U16.pins]!;
  }

  /** Adds `change` to the pins; how many there are then. */
  addPins(frame: FrameNo, change: number): number {
    const pins = this.pins(frame) + change;
    this.u16s[frame * U16S + U16.pins] = pins;
    return pins;
  }

  /** See `commit` above. */
  commit(frame: FrameNo): number {
    return this.words[frame * WORDS + Word.commit]! >>> 0;
  }

  setCommit(frame: FrameNo, mark: number): void {
    this.words[frame * WORDS + Word.commit] = mark;
  }

  /** Bounds of the valid bytes, and the mask of valid sectors, as the layout tells. */
  low(frame: FrameNo): number {
    return this.u16s[frame * U16S + U16.low]!;
  }

  high(frame: FrameNo): number {
    return this.u16s[frame * U16S + U16.high]!;
  }

  sectors(frame: FrameNo): number {
    return this.u8s[frame * ROW_BYTES + U8.sectors]!;
  }

  /** Describes an unpublished frame; it becomes real when `state` is stored. */
  describe(frame: FrameNo, image: InodeSlot, block: BlockNo, stamp: Instant, low: number, high: number): void {
    this.words[frame * WORDS + Word.image] = image;
    this.f64s[frame * F64S + F64.block] = block;
    this.f64s[frame * F64S + F64.stamp] = stamp;
    this.words[frame * WORDS + Word.commit] = 0;
    this.setRange(frame, low, high);
  }

  /** Gives `frame` the same valid bytes as `other` has. */
  copyValidity(frame: FrameNo, other: FrameNo): void {
    this.setRange(frame, this.low(other), this.high(other));
    this.u8s[frame * ROW_BYTES + U8.sectors] = this.sectors(other);
  }

  /** True if all 4096 bytes are valid. */
  isFull(frame: FrameNo): boolean {
    return this.sectors(frame) === 0 && this.low(frame) === 0 && this.high(frame) === BLOCK_BYTES;
  }

  /** Calls `each(low, high)` for every stretch of valid bytes, in order. */
  forValid(frame: FrameNo, each: (low: number, high: number) => void): void {
    const mask = this.sectors(frame);
    if (mask === 0) {
      each(this.low(frame), this.high(frame));
      return;
    }
    for (let from = 0; from < 8; from++) {
      if ((mask & (1 << from)) === 0) continue;
      let to = from + 1;
      while (to < 8 && (mask & (1 << to)) !== 0) to++;
      each(from * SECTOR_BYTES, to * SECTOR_BYTES);
      from = to;
    }
  }

  /** True if any valid byte lies in [low, high). */
  overlaps(frame: FrameNo, low: number, high: number): boolean {
    let found = false;
    this.forValid(frame, (from, to) => {
      if (from < high && low < to) found = true;
    });
    return found;
  }

  /** True if `frame`'s valid bytes together with [low, high) can be told: one stretch, or whole sectors. */
  canJoin(frame: FrameNo, low: number, high: number): boolean {
    if (this.sectors(frame) === 0) {
      if (low <= this.high(frame) && this.low(frame) <= high) return true;
    }
    return low % SECTOR_BYTES === 0 && high % SECTOR_BYTES === 0 && this.sectorMask(frame) !== 0;
  }

  /** Sets the valid bytes of `frame` to those of `old` together with [low, high); `canJoin` must hold. */
  setJoined(frame: FrameNo, old: FrameNo, low: number, high: number): void {
    const oldLow = this.low(old);
    const oldHigh = this.high(old);
    if (this.sectors(old) === 0 && low <= oldHigh && oldLow <= high) {
      this.setRange(frame, Math.min(low, oldLow), Math.max(high, oldHigh));
      return;
    }
    const mask = this.sectorMask(old) | maskOf(low, high);
    if (mask === 0xff) this.setRange(frame, 0, BLOCK_BYTES);
    else this.u8s[frame * ROW_BYTES + U8.sectors] = mask;
  }

  setRange(frame: FrameNo, low: number, high: number): void {
    this.u16s[frame * U16S + U16.low] = low;
    this.u16s[frame * U16S + U16.high] = high;
    this.u8s[frame * ROW_BYTES + U8.sectors] = 0;
  }

  /** The valid bytes as a sector mask; 0 if they do not begin and end on sectors. */
  private sectorMask(frame: FrameNo): number {
    const mask = this.sectors(frame);
    if (mask !== 0) return mask;
    const low = this.low(frame);
    const high = this.high(frame);
    return low % SECTOR_BYTES === 0 && high % SECTOR_BYTES === 0 ? maskOf(low, high) : 0;
  }
}

/** Bits of the sectors from byte `low` to byte `high`, both on sector bounds. */
const maskOf = (low: number, high: number): number =>
  ((1 << (high / SECTOR_BYTES)) - 1) & ~((1 << (low / SECTOR_BYTES)) - 1) & 0xff;
