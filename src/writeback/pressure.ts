/**
 * How full the cache is, and how long a write waits for it: the delay curve of the ZFS write throttle (OpenZFS
 * `dmu_tx_delay`, `zfs_delay_scale`), per block, so that large writes wait in proportion: with `x` the dirty share,
 * delay = SCALE * (x - min) / (max - x), at most DELAY_US_MAX. Below `min` nobody waits; at `max` new writes wait for room.
 *
 * A device that hangs or crawls must not hold up the images of others. One that takes more than half of what may be dirty is crowding:
 * its own blocks are what its writes wait for, and the others' are what theirs do, which may go beyond `max`, by half of the frames that
 * are left there. The other half is for what guests ask for meanwhile, which waits in frames, too.
 */
import { CLEAN_FRAMES_MIN, CROWDING_SHARE, DELAY_START, DELAY_US_MAX, WRITEBACK_START } from "../base/limits.ts";

/** Microseconds a block waits half-way up the curve: 260 MB/s. */
const SCALE_US = 15;

export class Pressure {
  private readonly frames: number;
  /** Blocks that may be dirty at most. */
  limit = 0;
  /** Blocks that the first write in line waits for; 0 when none does. */
  demand = 0;
  /** The same of those on other devices than the one that is crowding. */
  briskDemand = 0;
  /** Blocks of the device that is crowding, and of all others, at the turn's beginning; 0 and 0: none is. */
  crowding = 0;
  others = 0;
  private startBlocks = 0;
  /** Blocks beyond the limit that are set aside. */
  private aside = 0;

  constructor(frames: number, share: number) {
    this.frames = frames;
    this.setShare(share);
  }

  /** `share` of the frames may be dirty, 0.05 to 0.95, but for those that are always kept clean. */
  setShare(share: number): void {
    this.limit = Math.floor(Math.min(this.frames * share, this.frames - CLEAN_FRAMES_MIN));
    this.startBlocks = Math.floor(this.limit * WRITEBACK_START);
    this.aside = Math.max(0, Math.floor((this.frames - this.limit - CLEAN_FRAMES_MIN) / 2));
  }

  /** Blocks at which the background writer starts: few enough for the write that waits. */
  get start(): number {
    return Math.max(0, Math.min(this.startBlocks, this.limit - this.demand));
  }

  /** True if `blocks` are more than half of what may be dirty. */
  isMost(blocks: number): boolean {
    return blocks > this.limit * CROWDING_SHARE;
  }

  /**
   * True if `blocks` more fit, with `dirty` in the cache; while a device is crowding, `isBrisk` says that they are another's. A write
   * larger than the whole ceiling fits when nothing is dirty.
   */
  hasRoom(dirty: number, blocks: number, isBrisk = false): boolean {
    if (this.crowding === 0) return dirty + blocks <= this.limit || dirty === 0;
    const fitsOwn = isBrisk || dirty - this.others + blocks <= this.limit;
    return fitsOwn && dirty + blocks <= this.limit + this.aside;
  }

  /** Microseconds that a write of `blocks` is delayed with `dirty` blocks in the cache; `isBrisk` as for `hasRoom`. */
  delayUs(dirty: number, blocks: number, isBrisk = false): number {
    const most = isBrisk ? this.limit + this.aside - this.crowding : this.limit;
    const counted = dirty - (isBrisk ? this.crowding : this.others);
    const from = Math.floor(most * DELAY_START);
    if (counted <= from) return 0;
    const room = Math.max(most - counted, 1);
    return Math.min((SCALE_US * blocks * (counted - from)) / room, DELAY_US_MAX);
  }
}
