/** The running engine's figures, for the statistics. */
import { openSync, readSync } from "node:fs";
import { errnoName } from "../base/errno.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { ROW_BYTES } from "../cache/frames.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Slab } from "../cache/slab.ts";
import type { Inodes } from "../fs/inodes.ts";
import type { Counters } from "../stats/counters.ts";
import type { ImageSource, JournalSource, StatsSource } from "../stats/source.ts";
import type { Volume } from "../volume/volume.ts";
import type { EngineConfig } from "./config.ts";
import type { CpuTime } from "./cpu-time.ts";
import { pathOf } from "./paths.ts";
import type { Settings } from "./settings.ts";

export interface FiguresOptions {
  config: EngineConfig;
  counters: Counters;
  cpuTime: CpuTime;
  volume: Volume;
  slab: Slab;
  inodes: Inodes;
  settings: Settings;
  transport: string;
  io: string;
  nowUs: () => number;
}

export class Figures {
  private readonly options: FiguresOptions;

  constructor(options: FiguresOptions) {
    this.options = options;
  }

  /** All figures as of now. */
  source(): StatsSource {
    const { config, counters, volume, slab, settings, transport, io, nowUs } = this.options;
    const now = nowUs();
    this.options.cpuTime.note();
    const images = [...volume.openImages];
    const dirty = volume.cache.blocks;
    return {
      counters,
      nowUs: now,
      version: config.version,
      mountpoint: config.mountpoint,
      backing: config.backing,
      transport,
      io,
      device: settings.device,
      durability: settings.current.durability,
      lossWindowUs: settings.current.lossWindow * 1e6,
      journal: journalOf(volume),
      policy: config.cache ? volume.policy.name : "none: the cache is off",
      dirtyBlocks: dirty,
      dirtyLimitBlocks: volume.pressure.limit,
      oldestUs: ageOf(volume.writer.oldestSince(), now),
      drainBytesPerSecond: volume.writer.pacer.bytesPerSecond,
      inflightHomeWrites: volume.writer.inflight,
      delayUs: volume.pressure.delayUs(dirty, 1),
      waitingWrites: volume.delayedWrites,
      dirtyImages: images.filter((image) => image.blocks > 0).length,
      failingImages: images.filter((image) => image.hasFlag(ImageFlag.failing)).length,
      stalledImages: images.filter((image) => volume.writer.isStalled(image)).length,
      slabBytes: slab.bytes,
      frames: slab.frames,
      freeFrames: volume.cache.allocator.free,
      metadataBytes: slab.frames * ROW_BYTES,
      enginePid: process.pid,
      residentBytes: residentBytes(),
    };
  }

  /** A row for each image in use. */
  *images(): Generator<ImageSource> {
    const { volume, inodes, nowUs } = this.options;
    const { frames } = volume.cache;
    for (const image of volume.openImages) {
      const oldest = image.dirty.head;
      yield {
        path: pathOf(inodes, image.slot),
        sizeBytes: image.size,
        dirtyBlocks: image.blocks,
        oldestUs: oldest < 0 ? 0 : ageOf(frames.since(oldest), nowUs()),
        inflight: image.homeWrites,
        failing: image.hasFlag(ImageFlag.failing),
        stalled: volume.writer.isStalled(image),
        lastError: image.lastError === 0 ? "" : errnoName(image.lastError),
      };
    }
  }
}

function journalOf({ journaling, cache }: Volume): JournalSource | undefined {
  if (journaling === undefined) return undefined;
  const { journal, ledger } = journaling;
  return {
    bytes: journal.blocks * BLOCK_BYTES,
    usedBytes: journal.usedBlocks * BLOCK_BYTES,
    commits: ledger.commits,
    uncommittedBlocks: cache.commits.uncommitted,
    hasFailed: journal.broken !== 0,
  };
}

const ageOf = (since: number, now: number): number => (Number.isFinite(since) ? Math.max(0, now - since) : 0);

/** Open for as long as the process lives: figures are wanted most when it has no descriptor left. */
const statusFd = openSync("/proc/self/status", "r");
const statusBytes = Buffer.alloc(4096);

/** Anonymous and file memory, without what is shared: the slab. */
function residentBytes(): number {
  const status = statusBytes.toString("latin1", 0, readSync(statusFd, statusBytes, 0, statusBytes.length, 0));
  const kib = (name: string): number => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(status)?.[1] ?? 0);
  return (kib("RssAnon") + kib("RssFile")) * 1024;
}
