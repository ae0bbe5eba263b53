/**
 * Which way a flush makes its data safe: into the journal, or home. Costs are those of the device class, per image: a write of
 * its own for each run of adjacent blocks at home, one append for all that is flushed together in the journal.
 *
 * What is in the journal goes home later all the same, unless it is written again or discarded before; that is cheap for
 * scattered blocks, which go home sorted, and as dear as now for a stream. So a stream goes home at once: it is not written twice.
 */
import { asFrame, type FrameNo } from "../base/units.ts";
import type { FrameTable } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { WriteCache } from "../cache/write-cache.ts";

/**
 * Microseconds that an I/O of its own costs beside its bytes, an append to the journal likewise, and a block's bytes. Runs of a
 * stream are, on average, so long that their bytes cost more than getting there.
 */
const COSTS = {
  hdd: { seekUs: 8000, appendUs: 4000, blockUs: 27, streamRunBlocks: 256 },
  ssd: { seekUs: 60, appendUs: 60, blockUs: 8, streamRunBlocks: 16 },
} as const;

/** Blocks of a stream, at least. */
const STREAM_BLOCKS = 256;

export type Route = "journal" | "home";

/** How many blocks of an image a flush is about, and how many runs they make. */
export interface Extent {
  blocks: number;
  runs: number;
}

export class Router {
  device: keyof typeof COSTS = "ssd";
  private readonly cache: WriteCache;
  private readonly frames: FrameTable;

  constructor(cache: WriteCache) {
    this.cache = cache;
    this.frames = cache.frames;
  }

  /** The way for `image`, of which a flush waits. `alone`: no other image's flush would share the append. */
  route(image: Image, alone: boolean): Route {
    const { blocks, runs } = this.extent(image);
    if (blocks === 0) return "journal"; // nothing to write, perhaps something to revoke
    // Home takes all of the image's dirty blocks, also those that the journal has.
    if (image.blocks > 2 * blocks) return "journal";
    const { seekUs, appendUs, blockUs, streamRunBlocks } = COSTS[this.device];
    if (blocks >= STREAM_BLOCKS && blocks >= runs * streamRunBlocks) return "home";
    const home = runs * seekUs + blocks * blockUs;
    const journal = (alone ? appendUs : 0) + (blocks + 1) * blockUs;
    return image.blocks === blocks && home <= journal ? "home" : "journal";
  }

  /** The uncommitted blocks of `image`. */
  private extent(image: Image): Extent {
    const found = new Set<number>();
    this.cache.commits.forEach(image, (frame: FrameNo) => found.add(this.frames.block(asFrame(frame))));
    let runs = 0;
    for (const block of found) if (!found.has(block - 1)) runs++;
    return { blocks: found.size, runs };
  }
}
