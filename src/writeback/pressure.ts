/**
 * How full the cache is, and how long a write waits for it: the delay curve of the ZFS write throttle (OpenZFS
 * `dmu_tx_delay`, `zfs_delay_scale`), per block, so that large writes wait in proportion: with `x` the dirty share,
 * delay = SCALE * (x - min) / (max - x), at most DELAY_US_MAX. Below `min` nobody waits; at `max` new writes wait for room.
 *
 * While a device is stalled, what is dirty for it does not count for the images of others, and they may go beyond `max`: by half of the
 * frames that are left there. The other half is for what guests ask for meanwhile, which waits in frames, too.
 */
import { CLEAN_FRAMES_MIN, DELAY_START, DELAY_US_MAX, STALLED_SHARE, WRITEBACK_START } from "../base/limits.ts";

/** Microseconds a block waits half-way up the curve: 260 MB/s. */
const SCALE_US = 15;

export class Pressure {
  private readonly frames: number;
  /** Blocks that may be dirty at most. */
  limit = 0;
  /** Blocks that the first write in line waits for; 0 when none does. */
  demand = 0;
  /** Blocks that are dirty for stalled devices; 0: nothing is stalled. */
  stalled = 0;
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

  /** True if the images of stalled devices are let in as others are: they do not have most of what may be dirty. */
  get sparesStalled(): boolean {
    return this.stalled <= this.limit * STALLED_SHARE;
  }

  /**
   * True if `blocks` more fit below the ceiling, with `dirty` in the cache: those of an image that what is stalled must not hold up,
   * or of any. A write larger than the whole ceiling fits when nothing is dirty.
   */
  hasRoom(dirty: number, blocks: number, isBrisk = false): boolean {
    return dirty + blocks <= this.ceiling(isBrisk) || dirty === 0;
  }

  /** Microseconds that a write of `blocks` is delayed with `dirty` blocks in the cache. */
  delayUs(dirty: number, blocks: number, isBrisk = false): number {
    const apart = isBrisk ? this.stalled : 0;
    const most = this.ceiling(isBrisk) - apart;
    const from = Math.floor(most * DELAY_START);
    const counted = dirty - apart;
    if (counted <= from) return 0;
    const room = Math.max(most - counted, 1);
    return Math.min((SCALE_US * blocks * (counted - from)) / room, DELAY_US_MAX);
  }

  private ceiling(isBrisk: boolean): number {
    return isBrisk && this.stalled > 0 ? this.limit + this.aside : this.limit;
  }
}
