/**
 * Finds the current frame of a block: a hash table with as many buckets as frames, whose heads and
 * chains lie in the frame table's rows. Holds only published frames that
 * are the newest of their block; at most one a block.
 */
import { type BlockNo, type FrameNo, type InodeSlot } from "../base/units.ts";
import { type FrameTable, NONE, WORDS, Word } from "./frames.ts";

export class BlockIndex {
  private readonly frames: FrameTable;
  private readonly words: Int32Array;

  constructor(frames: FrameTable) {
    this.frames = frames;
    this.words = frames.words;
  }

  /** The frame that holds `block` of `image`, or NONE. */
  find(image: InodeSlot, block: BlockNo): FrameNo {
    const { frames, words } = this;
    let frame = words[this.headOf(image, block)] as FrameNo;
    while (frame !== NONE && (frames.block(frame) !== block || frames.image(frame) !== image)) {
      frame = words[frame * WORDS + Word.chain] as FrameNo;
    }
    return frame;
  }

  insert(frame: FrameNo): void {
    const head = this.headOf(this.frames.image(frame), this.frames.block(frame));
    this.words[frame * WORDS + Word.chain] = this.words[head]!;
    this.words[head] = frame;
  }

  /** Puts `frame` where `old`, of the same block, was. */
  replace(old: FrameNo, frame: FrameNo): void {
    const { words } = this;
    words[this.linkTo(old)] = frame;
    words[frame * WORDS + Word.chain] = words[old * WORDS + Word.chain]!;
    words[old * WORDS + Word.chain] = NONE;
  }

  remove(frame: FrameNo): void {
    const { words } = this;
    words[this.linkTo(frame)] = words[frame * WORDS + Word.chain]!;
    words[frame * WORDS + Word.chain] = NONE;
  }

  /** Index of the word that leads to `frame`, which is in the table. */
  private linkTo(frame: FrameNo): number {
    const { words } = this;
    let link = this.headOf(this.frames.image(frame), this.frames.block(frame));
    while (words[link] !== frame) link = words[link]! * WORDS + Word.chain;
    return link;
  }

  /** Index of the word that begins the bucket's chain. Neighbouring blocks have neighbouring buckets. */
  private headOf(image: InodeSlot, block: BlockNo): number {
    const high = Math.floor(block / 4294967296);
    const hash = ((block | 0) + Math.imul(image + 1, 0x9e3779b1) + Math.imul(high, 0x85ebca6b)) >>> 0;
    return (hash % this.frames.count) * WORDS + Word.head;
  }
}
