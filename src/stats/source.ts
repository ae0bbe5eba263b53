/** What the running engine tells of itself, as plain figures. Getters are called once a document, between two requests. */
import type { Counters } from "./counters.ts";

export interface JournalSource {
  /** Bytes of its ring, and how many of them are taken. */
  readonly bytes: number;
  readonly usedBytes: number;
  /** Commits that a recovery would read. */
  readonly commits: number;
  /** Dirty blocks that it does not have. */
  readonly uncommittedBlocks: number;
  readonly hasFailed: boolean;
}

export interface StatsSource {
  readonly counters: Counters;
  /** Monotonic microseconds, the clock of `Counter.mountedAtUs`. */
  readonly nowUs: number;
  /** The program's version. */
  readonly version: string;
  readonly mountpoint: string;
  readonly backing: string;
  readonly transport: string;
  readonly io: string;
  readonly device: { class: "hdd" | "ssd"; reason: string };
  readonly durability: string;
  /** Between two instants of `ordered`, microseconds. */
  readonly lossWindowUs: number;
  /** Undefined: there is none. */
  readonly journal: JournalSource | undefined;
  readonly policy: string;
  readonly dirtyBlocks: number;
  readonly dirtyLimitBlocks: number;
  /** Age of the oldest dirty block, microseconds; 0 when nothing is dirty. */
  readonly oldestUs: number;
  /** Measured rate at which dirty data goes home, bytes a second; 0 while unknown. */
  readonly drainBytesPerSecond: number;
  readonly inflightHomeWrites: number;
  /** Delay that a write arriving now would get, microseconds. */
  readonly delayUs: number;
  /** Writes that wait right now, delayed or for a free frame. */
  readonly waitingWrites: number;
  readonly dirtyImages: number;
  /** Images with a home write that failed and is not yet down. */
  readonly failingImages: number;
  /** Images of whose device nothing is heard. */
  readonly stalledImages: number;
  readonly slabBytes: number;
  readonly frames: number;
  readonly freeFrames: number;
  /** Slab and engine memory that is not frames, bytes. */
  readonly metadataBytes: number;
  readonly enginePid: number;
  /** Resident memory of the engine without the slab, bytes. */
  readonly residentBytes: number;
}

export interface ImageSource {
  /** Path below the mount, a byte string kept as latin1. */
  readonly path: string;
  readonly sizeBytes: number;
  readonly dirtyBlocks: number;
  /** Age of its oldest dirty block, microseconds; 0 when clean. */
  readonly oldestUs: number;
  readonly inflight: number;
  /** A home write failed and its data is not yet down. */
  readonly failing: boolean;
  /** Something of it has been under way at home for long, and is not over. */
  readonly stalled: boolean;
  /** Name of the last error, for example `EIO`; empty when there was none. */
  readonly lastError: string;
}
