/** SEEK_DATA and SEEK_HOLE over an image: home's own holes, with dirty blocks as data. */
import { E } from "../base/errno.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { FrameState, type FrameTable, NONE } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import { SEEK_DATA, SEEK_HOLE } from "../sys/constants.ts";

export class Seeker {
  private readonly frames: FrameTable;
  private sortedFor: Image | undefined;
  private sortedAt = -1;
  private sorted: Float64Array = new Float64Array(0);

  constructor(frames: FrameTable) {
    this.frames = frames;
  }

  /**
   * The next data or hole at or after `offset`, or a negated error number (ENXIO at the end). `version` changes whenever
   * any block does: the sorted list of dirty blocks is kept between the calls of one walk.
   */
  seek(image: Image, offset: number, whence: number, version: number): number {
    if (offset >= image.size || offset < 0) return -E.ENXIO;
    const blocks = this.blocksOf(image, version);
    return whence === SEEK_DATA ? this.data(image, blocks, offset) : this.hole(image, blocks, offset);
  }

  private data(image: Image, blocks: Float64Array, offset: number): number {
    const home = image.file.seek(offset, SEEK_DATA);
    if (home < 0 && home !== -E.ENXIO) return home;
    const block = blocks[lowerBound(blocks, Math.floor(offset / BLOCK_BYTES))];
    const dirty = block === undefined ? Number.POSITIVE_INFINITY : Math.max(block * BLOCK_BYTES, offset);
    const found = Math.min(home < 0 ? Number.POSITIVE_INFINITY : home, dirty);
    return found < image.size ? found : -E.ENXIO;
  }

  private hole(image: Image, blocks: Float64Array, offset: number): number {
    let at = offset;
    for (;;) {
      if (at >= image.size) return image.size;
      const home = image.file.seek(at, SEEK_HOLE);
      if (home < 0 && home !== -E.ENXIO) return home;
      const candidate = home < 0 ? at : home; // beyond home's end all is hole
      const past = this.endOfDirty(blocks, candidate);
      if (past === candidate) return Math.min(candidate, image.size);
      at = past;
    }
  }

  /** The end of the stretch of dirty blocks that covers `offset`; `offset` itself if none does. */
  private endOfDirty(blocks: Float64Array, offset: number): number {
    let block = Math.floor(offset / BLOCK_BYTES);
    let index = lowerBound(blocks, block);
    if (blocks[index] !== block) return offset;
    while (blocks[index] === block) {
      index++;
      block++;
    }
    return block * BLOCK_BYTES;
  }

  private blocksOf(image: Image, version: number): Float64Array {
    if (this.sortedFor === image && this.sortedAt === version) return this.sorted;
    const blocks = new Float64Array(image.blocks);
    let count = 0;
    for (const list of [image.dirty, image.written, image.flushing]) {
      for (let frame = list.head; frame !== NONE; frame = list.after(frame)) {
        if (this.frames.state(frame) !== FrameState.doomed) blocks[count++] = this.frames.block(frame);
      }
    }
    this.sorted = blocks.subarray(0, count).sort();
    this.sortedFor = image;
    this.sortedAt = version;
    return this.sorted;
  }
}

/** Index of the first element that is not below `value`. */
function lowerBound(sorted: Float64Array, value: number): number {
  let low = 0;
  let high = sorted.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
