/**
 * Takes in what an earlier engine left in the slab: every accepted block is dirty again, whatever was going on with it. Of
 * two frames of one block the later stamp wins; the order of victims is that of the stamps, to a 1024th of their span.
 */
import { type FrameNo, type InodeSlot, type Instant } from "../base/units.ts";
import { FrameState } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { WriteCache } from "../cache/write-cache.ts";

const BUCKETS = 1024;

/** What `restoreFrames` found. */
export interface Restored {
  blocks: number;
  newest: Instant;
  /** Images whose backing file could not be opened, with the negated error number; their frames were left alone. */
  lost: Map<InodeSlot, number>;
}

/**
 * Fills the cache from the frame table. `open` gives the image of a slot, or a negated error number, or undefined if the
 * inode is no more: a kill came between its removal and that of its data. `isCommitted`: the journal has the frame's bytes.
 */
export function restoreFrames(
  cache: WriteCache,
  open: (slot: InodeSlot) => Image | number | undefined,
  isCommitted: (frame: FrameNo) => boolean,
): Restored {
  const { frames } = cache;
  const lost = new Map<InodeSlot, number>();
  const { order, newest } = sortedByStamp(cache);
  for (const frame of order) {
    const slot = frames.image(frame as FrameNo);
    if (lost.has(slot)) continue;
    const image = open(slot);
    if (image === undefined) cache.release(frame as FrameNo);
    else if (typeof image === "number") lost.set(slot, image);
    else cache.restore(image, frame as FrameNo, isCommitted(frame as FrameNo));
  }
  return { blocks: cache.blocks, newest, lost };
}

/** Frames that hold accepted data, older ones first by bucket; all others go to the allocator. */
function sortedByStamp(cache: WriteCache): { order: Int32Array; newest: Instant } {
  const { frames, allocator } = cache;
  let oldest = Number.POSITIVE_INFINITY;
  let newest = 0;
  let count = 0;
  for (let frame = 0; frame < frames.count; frame++) {
    const state = frames.state(frame as FrameNo);
    if (state === FrameState.free || state === FrameState.doomed) {
      frames.setState(frame as FrameNo, FrameState.free);
      allocator.release(frame as FrameNo);
      continue;
    }
    count++;
    oldest = Math.min(oldest, frames.stamp(frame as FrameNo));
    newest = Math.max(newest, frames.stamp(frame as FrameNo));
  }
  const bucketOf = (frame: number): number =>
    newest === oldest ? 0 : Math.floor(((frames.stamp(frame as FrameNo) - oldest) / (newest - oldest)) * (BUCKETS - 1));
  const starts = new Int32Array(BUCKETS + 1);
  for (let frame = 0; frame < frames.count; frame++)
    if (frames.state(frame as FrameNo) !== FrameState.free) starts[bucketOf(frame) + 1]!++;
  for (let i = 0; i < BUCKETS; i++) starts[i + 1]! += starts[i]!;
  const order = new Int32Array(count);
  for (let frame = 0; frame < frames.count; frame++) {
    if (frames.state(frame as FrameNo) !== FrameState.free) order[starts[bucketOf(frame)]!++] = frame;
  }
  return { order, newest: newest as Instant };
}
