/**
 * `stats.json` and `images.json`: their shape, and how they are made. All figures are integers: bytes, blocks of 4 KiB,
 * microseconds; counters count since the mount.
 */
import { BLOCK_BYTES } from "../base/units.ts";
import { Counter, type Counters, HistogramSlot } from "./counters.ts";
import type { ImageSource, StatsSource } from "./source.ts";

/** A distribution, microseconds. Quantiles are upper edges, at most 12.5 % high; `max` is exact. */
export interface Latency {
  p50: number;
  p99: number;
  max: number;
}

export interface StatsDocument {
  version: string;
  mountpoint: string;
  backing: string;
  uptime_us: number;
  transport: string;
  io: string;
  device: { class: "hdd" | "ssd"; reason: string };
  durability: string;
  /** Between two instants of `ordered`. */
  loss_window_us: number;
  policy: string;
  writes: {
    requests: number;
    bytes: number;
    /** Each block that a write touches. See `unaccountedBlocks`. */
    blocks: number;
    absorbed_rewrite_blocks: number;
    absorbed_discard_blocks: number;
    delayed_requests: number;
    delayed_us: number;
  };
  reads: { requests: number; bytes: number; hit_blocks: number; miss_blocks: number };
  flushes: {
    requests: number;
    /** Those that took dirty blocks home. */
    home: number;
    commits: number;
    journal_bytes: number;
    latency_us: Latency;
  };
  journal: {
    bytes: number;
    used_bytes: number;
    /** Commits that a recovery would read. */
    commits_live: number;
    /** Dirty blocks that the journal does not have. */
    uncommitted_blocks: number;
    /** `none`: the mount has none; `failed`: an error of its device, flushes go home. */
    state: "ok" | "none" | "failed";
  };
  writeback: {
    ios: number;
    /** Each frame once, when it became durable at home. */
    blocks: number;
    bytes: number;
    errors: number;
    /** Mean size of a home write, in whole blocks. */
    mean_run_blocks: number;
    inflight: number;
    bytes_per_second: number;
  };
  dirty: {
    bytes: number;
    blocks: number;
    limit_bytes: number;
    oldest_us: number;
    /** Dirty bytes over the measured drain rate, rounded up; -1 while that rate is unknown. */
    seconds_to_clean: number;
  };
  /** What writers feel now: the delay a write would get, and how many wait. */
  pressure: { delay_us: number; waiting_requests: number };
  images: { dirty: number; failing: number; stalled: number };
  slab: { bytes: number; frames: number; free_frames: number; metadata_bytes: number };
  latency_us: { write: Latency; read: Latency };
  engine: { pid: number; restarts: number; cpu_us: number; resident_bytes: number };
}

export interface ImageDocument {
  path: string;
  size_bytes: number;
  dirty: { blocks: number; bytes: number; oldest_us: number };
  inflight: number;
  failing: boolean;
  stalled: boolean;
  last_error: string;
}

export interface ImagesDocument {
  images: ImageDocument[];
}

/** One consistent picture of the running engine. */
export function statsDocument(source: StatsSource): StatsDocument {
  const { counters } = source;
  const count = (slot: number): number => Math.round(counters.at[slot]!);
  return {
    version: source.version,
    mountpoint: source.mountpoint,
    backing: source.backing,
    uptime_us: Math.round(source.nowUs - counters.at[Counter.mountedAtUs]!),
    transport: source.transport,
    io: source.io,
    device: { class: source.device.class, reason: source.device.reason },
    durability: source.durability,
    loss_window_us: source.lossWindowUs,
    policy: source.policy,
    writes: {
      requests: count(Counter.writeRequests),
      bytes: count(Counter.writeBytes),
      blocks: count(Counter.writeBlocks),
      absorbed_rewrite_blocks: count(Counter.absorbedRewriteBlocks),
      absorbed_discard_blocks: count(Counter.absorbedDiscardBlocks),
      delayed_requests: count(Counter.delayedWrites),
      delayed_us: count(Counter.delayedUs),
    },
    reads: {
      requests: count(Counter.readRequests),
      bytes: count(Counter.readBytes),
      hit_blocks: count(Counter.readHitBlocks),
      miss_blocks: count(Counter.readMissBlocks),
    },
    flushes: {
      requests: count(Counter.flushRequests),
      home: count(Counter.homeFlushes),
      commits: count(Counter.commits),
      journal_bytes: count(Counter.journalBytes),
      latency_us: latency(counters, HistogramSlot.flush),
    },
    journal: journalPart(source),
    writeback: {
      ios: count(Counter.writebackIos),
      blocks: count(Counter.writebackBlocks),
      bytes: count(Counter.writebackBytes),
      errors: count(Counter.writebackErrors),
      mean_run_blocks: meanRunBlocks(count(Counter.writebackBytes), count(Counter.writebackIos)),
      inflight: source.inflightHomeWrites,
      bytes_per_second: Math.round(source.drainBytesPerSecond),
    },
    dirty: dirtyPart(source),
    pressure: { delay_us: Math.round(source.delayUs), waiting_requests: source.waitingWrites },
    images: { dirty: source.dirtyImages, failing: source.failingImages, stalled: source.stalledImages },
    slab: {
      bytes: source.slabBytes,
      frames: source.frames,
      free_frames: source.freeFrames,
      metadata_bytes: source.metadataBytes,
    },
    latency_us: { write: latency(counters, HistogramSlot.write), read: latency(counters, HistogramSlot.read) },
    engine: {
      pid: source.enginePid,
      restarts: Math.max(0, count(Counter.engineStarts) - 1),
      cpu_us: Math.round(counters.at[Counter.engineCpuUs]!),
      resident_bytes: source.residentBytes,
    },
  };
}

/** Images, those with most dirty data first, then by path. */
export function imagesDocument(sources: Iterable<ImageSource>): ImagesDocument {
  const images = Array.from(sources, imageDocument);
  images.sort((a, b) => b.dirty.blocks - a.dirty.blocks || (a.path < b.path ? -1 : Number(a.path > b.path)));
  return { images };
}

/**
 * Blocks written that are neither absorbed, nor durable at home, nor dirty. 0 at every quiet moment; anything else then
 * is a bug that lost or invented a block.
 */
export const unaccountedBlocks = ({ writes, writeback, dirty }: StatsDocument): number =>
  writes.blocks - writes.absorbed_rewrite_blocks - writes.absorbed_discard_blocks - writeback.blocks - dirty.blocks;

function journalPart({ journal }: StatsSource): StatsDocument["journal"] {
  if (journal === undefined) return { bytes: 0, used_bytes: 0, commits_live: 0, uncommitted_blocks: 0, state: "none" };
  return {
    bytes: journal.bytes,
    used_bytes: journal.usedBytes,
    commits_live: journal.commits,
    uncommitted_blocks: journal.uncommittedBlocks,
    state: journal.hasFailed ? "failed" : "ok",
  };
}

function dirtyPart(source: StatsSource): StatsDocument["dirty"] {
  const bytes = source.dirtyBlocks * BLOCK_BYTES;
  return {
    bytes,
    blocks: source.dirtyBlocks,
    limit_bytes: Math.floor(source.dirtyLimitBlocks) * BLOCK_BYTES,
    oldest_us: Math.round(source.oldestUs),
    seconds_to_clean: secondsToClean(bytes, source.drainBytesPerSecond),
  };
}

function secondsToClean(bytes: number, bytesPerSecond: number): number {
  if (bytes === 0) return 0;
  return bytesPerSecond > 0 ? Math.ceil(bytes / bytesPerSecond) : -1;
}

/** From bytes, not from `writeback.blocks`: those wait for a device flush, and would lag behind the writes. */
const meanRunBlocks = (bytes: number, ios: number): number =>
  ios === 0 ? 0 : Math.max(1, Math.round(bytes / ios / BLOCK_BYTES));

const latency = (counters: Counters, histogram: number): Latency => ({
  p50: Math.ceil(counters.quantile(histogram, 0.5)),
  p99: Math.ceil(counters.quantile(histogram, 0.99)),
  max: Math.ceil(counters.max(histogram)),
});

const imageDocument = (source: ImageSource): ImageDocument => ({
  path: Buffer.from(source.path, "latin1").toString("utf8"),
  size_bytes: source.sizeBytes,
  dirty: {
    blocks: source.dirtyBlocks,
    bytes: source.dirtyBlocks * BLOCK_BYTES,
    oldest_us: Math.round(source.oldestUs),
  },
  inflight: source.inflight,
  failing: source.failing,
  stalled: source.stalled,
  last_error: source.lastError,
});
