/**
 * A run: adjacent dirty blocks of one image that one home write takes, or a single partly valid block that takes one write
 * for each stretch of valid bytes. From `claim` to `finish` its frames are in flight.
 */
import { RUN_FRAMES_MAX } from "../base/limits.ts";
import { BLOCK_BYTES, type BlockNo, type FrameNo } from "../base/units.ts";
import { FrameState, NONE } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { Slab } from "../cache/slab.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import { IoVector } from "../sys/iovec.ts";

/** One stretch of bytes to write: where in the file, and how many. */
export interface Piece {
  offset: number;
  length: number;
}

export class Run {
  image!: Image;
  first = 0 as BlockNo;
  count = 0;
  readonly frames = new Int32Array(RUN_FRAMES_MAX);
  readonly iov = new IoVector(RUN_FRAMES_MAX);
  /** What is still to be written; the first is under way. */
  pieces: Piece[] = [];
  /** When it was claimed, microseconds on the clock. */
  beganUs = 0;
  /** Bytes of the current piece that are written. */
  done = 0;
  iovFirst = 0;
  iovCount = 0;
  /** Device flushes of the image that had failed when the run began. */
  failedFlushes = 0;
  /** The run was made for somebody's flush. */
  urgent = false;

  /** True if `block` of `image` is among this run's. */
  covers(image: Image, block: number): boolean {
    return this.image === image && block >= this.first && block < this.first + this.count;
  }
}

export class RunBuilder {
  private readonly cache: WriteCache;
  private readonly slab: Slab;
  private readonly active: readonly Run[];

  /** `active`: the runs in flight, which no new run may overlap. */
  constructor(cache: WriteCache, slab: Slab, active: readonly Run[]) {
    this.cache = cache;
    this.slab = slab;
    this.active = active;
  }

  /**
   * Fills `run` with the longest stretch of dirty whole blocks around `block`, or with `block` alone if it is partly
   * valid. False if `block` cannot go now: not dirty any more, or in flight.
   */
  claim(run: Run, image: Image, block: BlockNo): boolean {
    const frame = this.takeable(image, block);
    if (frame === NONE) return false;
    run.image = image;
    run.done = 0;
    if (!this.isWhole(image, frame, block)) {
      this.claimPartial(run, image, frame, block);
      return true;
    }
    let first = block;
    let last = block;
    while (last - first + 1 < RUN_FRAMES_MAX && first > 0 && this.wholeAt(image, (first - 1) as BlockNo) !== NONE)
      first--;
    while (last - first + 1 < RUN_FRAMES_MAX && this.wholeAt(image, (last + 1) as BlockNo) !== NONE) last++;
    run.first = first;
    run.count = last - first + 1;
    run.iovFirst = 0;
    run.iovCount = 0;
    for (let i = 0; i < run.count; i++) this.add(run, i, this.cache.find(image.slot, (first + i) as BlockNo));
    run.pieces = [{ offset: first * BLOCK_BYTES, length: run.count * BLOCK_BYTES }];
    return true;
  }

  private add(run: Run, index: number, frame: FrameNo): void {
    run.frames[index] = frame;
    const address = this.slab.frameAddress(frame);
    const last = run.iovCount - 1;
    if (last >= 0 && run.iov.endsAt(last, address)) run.iov.extend(last, BLOCK_BYTES);
    else run.iov.set(run.iovCount++, address, BLOCK_BYTES);
  }

  private claimPartial(run: Run, image: Image, frame: FrameNo, block: BlockNo): void {
    run.first = block;
    run.count = 1;
    run.frames[0] = frame;
    run.pieces = [];
    const base = block * BLOCK_BYTES;
    this.cache.frames.forValid(frame, (low, high) => {
      const end = Math.min(base + high, this.sizeAtHome(image));
      if (end > base + low) run.pieces.push({ offset: base + low, length: end - base - low });
    });
    this.aim(run);
  }

  /** Points the iovec at the first piece of a partial run. */
  aim(run: Run): void {
    const piece = run.pieces[0];
    if (piece === undefined) return;
    const within = piece.offset - run.first * BLOCK_BYTES;
    run.iov.set(0, this.slab.frameAddress(run.frames[0] as FrameNo) + within, piece.length);
    run.iovFirst = 0;
    run.iovCount = 1;
    run.done = 0;
  }

  private wholeAt(image: Image, block: BlockNo): FrameNo {
    const frame = this.takeable(image, block);
    return frame !== NONE && this.isWhole(image, frame, block) ? frame : NONE;
  }

  /** The dirty frame of `block` that no home write is busy with. */
  private takeable(image: Image, block: BlockNo): FrameNo {
    const frame = this.cache.find(image.slot, block);
    if (frame === NONE || this.cache.frames.state(frame) !== FrameState.dirty) return NONE;
    if (!this.cache.commits.mayGo(image, frame)) return NONE;
    for (const run of this.active) if (run.covers(image, block)) return NONE;
    return frame;
  }

  private isWhole(image: Image, frame: FrameNo, block: BlockNo): boolean {
    return this.cache.frames.isFull(frame) && (block + 1) * BLOCK_BYTES <= this.sizeAtHome(image);
  }

  /** Bytes of a frame beyond it are zeros, with which a block was completed: they do not make home longer. */
  private sizeAtHome(image: Image): number {
    return Math.min(image.size, this.cache.commits.homeLimit(image));
  }
}
