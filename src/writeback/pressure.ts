/**
 * How full the cache is, and how long a write waits for it: the delay curve of the ZFS write throttle (OpenZFS
 * `dmu_tx_delay`, `zfs_delay_scale`), per block, so that large writes wait in proportion: with `x` the dirty share,
 * delay = SCALE * (x - min) / (max - x), at most DELAY_US_MAX. Below `min` nobody waits; at `max` new writes wait for room.
 */
import { CLEAN_FRAMES_MIN, DELAY_START, DELAY_US_MAX, WRITEBACK_START } from "../base/limits.ts";

/** Microseconds a block waits half-way up the curve: 260 MB/s. */
const SCALE_US = 15;

export class Pressure {
  private readonly frames: number;
  /** Blocks that may be dirty at most. */
  limit = 0;
  /** Blocks that the first write in line waits for; 0 when none does. */
  demand = 0;
  private startBlocks = 0;
  private delayFrom = 0;

  constructor(frames: number, share: number) {
    this.frames = frames;
    this.setShare(share);
  }

  /** `share` of the frames may be dirty, 0.05 to 0.95, but for those that are always kept clean. */
  setShare(share: number): void {
    this.limit = Math.floor(Math.min(this.frames * share, this.frames - CLEAN_FRAMES_MIN));
    this.startBlocks = Math.floor(this.limit * WRITEBACK_START);
    this.delayFrom = Math.floor(this.limit * DELAY_START);
  }

  /** Blocks at which the background writer starts: few enough for the write that waits. */
  get start(): number {
    return Math.max(0, Math.min(this.startBlocks, this.limit - this.demand));
  }

  /** True if `blocks` more fit below the ceiling. A write larger than the whole ceiling fits when nothing is dirty. */
  hasRoom(dirty: number, blocks: number): boolean {
    return dirty + blocks <= this.limit || dirty === 0;
  }

  /** Microseconds that a write of `blocks` is delayed with `dirty` blocks in the cache. */
  delayUs(dirty: number, blocks: number): number {
    if (dirty <= this.delayFrom) return 0;
    const room = Math.max(this.limit - dirty, 1);
    return Math.min((SCALE_US * blocks * (dirty - this.delayFrom)) / room, DELAY_US_MAX);
  }
}
