/** Finds the hole of an image that is being filled, so that what comes into it can go home ahead of the journal (`extending.ts`). */
import { E } from "../base/errno.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { NO_BLOCKS, type Stretch } from "../cache/extension.ts";
import { FrameState, NONE } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import type { LiveImage } from "../journal/live-image.ts";
import { SEEK_DATA } from "../sys/constants.ts";

/** Of the blocks that make a hole worth while, how many must have come side by side for what follows them to be looked at. */
const STRETCH_SHARE = 1 / 16;

/**
 * The hole, `least` blocks long or more, into which what comes to `image` next will go if it goes on as it did; without any block, if
 * there is none. All of it reads as zeros: home has no data there, the cache no frame and the journal no record.
 */
export function holeAhead(cache: WriteCache, image: Image, live: LiveImage, least: number): Stretch {
  const front = frontOf(cache, image, least);
  if (front === undefined) return NO_BLOCKS;
  const end = Math.floor(image.size / BLOCK_BYTES);
  let first = front;
  for (const block of [...takenFrom(cache, image, live, front), end]) {
    if (Math.min(block, end) - first >= least) return emptyAtHome(image, first, Math.min(block, end), least);
    first = Math.max(first, block + 1); // of several writers at work together some are ahead
  }
  return NO_BLOCKS;
}

/** Where what came last to `image`, or most of it, ends. */
function frontOf(cache: WriteCache, image: Image, least: number): number | undefined {
  const { filled, filledTo } = image.extension;
  const blocks: number[] = [];
  cache.commits.forEach(image, (frame) => blocks.push(cache.frames.block(frame)));
  let longest = NO_BLOCKS;
  let first = 0;
  let end = 0;
  for (const block of Float64Array.from(blocks).sort()) {
    if (block > end || end === 0) first = block;
    end = block + 1;
    if (end - first > longest.end - longest.first) longest = { first, end };
  }
  const length = longest.end - longest.first;
  if (filled >= Math.max(least, length)) return filledTo;
  return length >= least * STRETCH_SHARE ? longest.end : undefined;
}

/** Blocks from `from` on of which the cache or the journal has something, in order. */
function takenFrom(cache: WriteCache, image: Image, live: LiveImage, from: number): Float64Array {
  const blocks: number[] = [];
  for (const list of [image.dirty, image.written, image.flushing]) {
    for (let frame = list.head; frame !== NONE; frame = list.after(frame)) {
      const block = cache.frames.block(frame);
      if (block >= from && cache.frames.state(frame) !== FrameState.doomed) blocks.push(block);
    }
  }
  for (const block of live.records.keys()) if (block >= from) blocks.push(block);
  return Float64Array.from(blocks).sort();
}

function emptyAtHome(image: Image, first: number, end: number, least: number): Stretch {
  const data = image.file.seek(first * BLOCK_BYTES, SEEK_DATA);
  if (data < 0 && data !== -E.ENXIO) return NO_BLOCKS;
  const hole = { first, end: data < 0 ? end : Math.min(end, Math.floor(data / BLOCK_BYTES)) };
  return hole.end - hole.first >= least ? hole : NO_BLOCKS;
}
