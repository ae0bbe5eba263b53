/**
 * Counters since the mount, float64 each, in the slab: they survive an engine restart. Hot code increments
 * `counters.at[Counter.x]` directly; everything else reads them by name.
 */

/**
 * Slot of each counter. Numbers are part of the slab's format. Blocks count as in the identity
 * `writeBlocks = absorbedRewriteBlocks + absorbedDiscardBlocks + writebackBlocks + dirty blocks now`.
 */
export const Counter = {
  /** Monotonic microseconds of the mount. */
  mountedAtUs: 0,
  /** Engines begun since the mount, the first included. */
  engineStarts: 1,
  /** CPU time of all engines, microseconds, as last noted. */
  engineCpuUs: 2,
  writeRequests: 8,
  writeBytes: 9,
  /** Each block that a write touches, once a write. */
  writeBlocks: 10,
  absorbedRewriteBlocks: 11,
  absorbedDiscardBlocks: 12,
  delayedWrites: 13,
  delayedUs: 14,
  readRequests: 16,
  readBytes: 17,
  readHitBlocks: 18,
  readMissBlocks: 19,
  flushRequests: 24,
  homeFlushes: 25,
  /** Journal transactions and their bytes: 0 without a journal. */
  commits: 26,
  journalBytes: 27,
  writebackIos: 32,
  /** Each frame once, when it is durable at home. */
  writebackBlocks: 33,
  writebackBytes: 34,
  writebackErrors: 35,
} as const;

/** First slot of each latency histogram; HISTOGRAM_SLOTS apart. */
export const HistogramSlot = { write: 256, read: 512, flush: 768 } as const;
export const HISTOGRAM_SLOTS = 256;

/** Buckets an octave: a quantile is at most 12.5 % off. */
const SUB_BUCKETS = 8;
const OCTAVES = 31;
const BUCKETS = OCTAVES * SUB_BUCKETS;
/** Within a histogram, behind the buckets: the sum of all values, and the largest, microseconds. */
const SUM = HISTOGRAM_SLOTS - 2;
const MAX = HISTOGRAM_SLOTS - 1;
/** Larger values count in the last bucket. */
const OBSERVED_US_MAX = 2 ** 31 - 1;

export class Counters {
  readonly at: Float64Array;

  /** `memory`: at least 1,024 float64, all zero when new. */
  constructor(memory: Float64Array) {
    this.at = memory;
  }

  add(slot: number, amount: number): void {
    this.at[slot]! += amount;
  }

  /** Counts `us` in a histogram, `times` times. Less than 1 counts as 1; the sum and the maximum are exact. */
  observe(histogram: number, us: number, times = 1): void {
    const value = us < 1 ? 1 : us > OBSERVED_US_MAX ? OBSERVED_US_MAX : us;
    const octave = 31 - Math.clz32(value);
    const bucket = octave * SUB_BUCKETS + Math.trunc((value / (1 << octave) - 1) * SUB_BUCKETS);
    this.at[histogram + bucket]! += times;
    this.at[histogram + SUM]! += us * times;
    if (us > this.at[histogram + MAX]!) this.at[histogram + MAX] = us;
  }

  /** How many values a histogram holds that are less than 2^`octaves` microseconds; all when Infinity. */
  countBelow(histogram: number, octaves: number): number {
    const end = Math.min(octaves, OCTAVES) * SUB_BUCKETS;
    let total = 0;
    for (let i = 0; i < end; i++) total += this.at[histogram + i]!;
    return total;
  }

  /** The upper edge in microseconds of the bucket that holds quantile `q` (0 to 1); 0 when nothing was counted. */
  quantile(histogram: number, q: number): number {
    const rank = q * this.countBelow(histogram, Number.POSITIVE_INFINITY);
    if (rank === 0) return 0;
    let seen = 0;
    for (let i = 0; i < BUCKETS; i++) {
      seen += this.at[histogram + i]!;
      if (seen >= rank) return Math.min(bucketEdge(i), this.max(histogram));
    }
    return this.max(histogram);
  }

  /** The sum of the values counted, microseconds. */
  sum(histogram: number): number {
    return this.at[histogram + SUM]!;
  }

  /** The exact largest value counted, microseconds. */
  max(histogram: number): number {
    return this.at[histogram + MAX]!;
  }
}

const bucketEdge = (bucket: number): number =>
  2 ** Math.floor(bucket / SUB_BUCKETS) * (1 + ((bucket % SUB_BUCKETS) + 1) / SUB_BUCKETS);
