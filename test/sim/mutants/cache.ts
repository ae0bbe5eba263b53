/** Bugs of the cache: which bytes are the newest, and when a frame is free. */
import type { Mutant } from "./mutant.ts";

export const CACHE: readonly Mutant[] = [
  {
    bug: "a block is freed when its home write ends, before any device flush",
    file: "src/cache/write-cache.ts",
    find: "frames.setState(frame, FrameState.written); image.written.append(frame); this.writtenBlocks++;",
    replace:
      "this.index.remove(frame); this.blocks--; this.counters.at[Counter.writebackBlocks] += 1; frames.setState(frame, FrameState.doomed);",
    seeds: 150,
  },
  {
    bug: "a superseded frame is used again while a read or a home write still needs it",
    file: "src/cache/write-cache.ts",
    find: "if (this.frames.pins(frame) !== 0)",
    replace: "if (false)",
    seeds: 250,
  },
  {
    bug: "a block written again on its way home is not offered to the writer once that write has ended",
    file: "src/cache/write-cache.ts",
    find: "if (isDirty) this.offer(image, newer);",
    replace: "",
    seeds: 2000,
  },
  {
    bug: "blocks that a failed device flush covered are not written again",
    file: "src/cache/write-cache.ts",
    find: "this.distrust(image, image.flushing);",
    replace:
      "for (let f = image.flushing.head; f !== NONE; f = image.flushing.head) { image.flushing.remove(f); this.frames.setState(f, FrameState.written); image.written.append(f); }",
    seeds: 800,
  },
  {
    bug: "a block that is overwritten is dirty only since then",
    file: "src/cache/write-cache.ts",
    find: "frames.setSince(frame, frames.since(old));",
    replace: "frames.setSince(frame, frames.stamp(frame));",
    seeds: 800,
  },
  {
    bug: "a small overwrite loses the older bytes behind it",
    file: "src/cache/write-cache.ts",
    find: "this.slab.copy(old, frame, Math.max(from, high), to);",
    replace: ";",
    seeds: 20,
  },
  {
    bug: "a small overwrite forgets that the older bytes behind it are valid",
    file: "src/cache/frames.ts",
    find: "Math.max(high, oldHigh)",
    replace: "high",
    seeds: 20,
  },
  {
    bug: "a block of which some sectors are valid counts as whole",
    file: "src/cache/frames.ts",
    find: "return this.sectors(frame) === 0 && this.low",
    replace: "return this.sectors(frame) !== 0 || this.low",
    seeds: 100,
  },
  {
    bug: "blocks that are home and not flushed outlive a truncate or a punch",
    file: "src/cache/write-cache.ts",
    find: "for (const list of [image.dirty, image.written, image.flushing])",
    replace: "for (const list of [image.dirty])",
    seeds: 2000,
  },
  {
    bug: "a frame in the landing window is also free",
    file: "src/cache/allocator.ts",
    find: "this.map[(start + length) >>> 5] &= ~(1 << ((start + length) & 31));",
    replace: "",
    seeds: 10,
  },
  {
    bug: "a block absorbed by a rewrite is not counted",
    file: "src/cache/write-cache.ts",
    find: "if (counted)",
    replace: "if (false)",
    seeds: 20,
  },
];
