/** A doubly linked list of frames through the frame table's link columns. A frame is in at most one list. */

import type { FrameNo } from "../base/units.ts";
import { type FrameTable, NONE, WORDS, Word } from "./frames.ts";

export class FrameList {
  head: FrameNo = NONE;
  tail: FrameNo = NONE;
  count = 0;
  private readonly words: Int32Array;

  constructor(frames: FrameTable) {
    this.words = frames.words;
  }

  append(frame: FrameNo): void {
    this.words[frame * WORDS + Word.previous] = this.tail;
    this.words[frame * WORDS + Word.next] = NONE;
    if (this.tail === NONE) this.head = frame;
    else this.words[this.tail * WORDS + Word.next] = frame;
    this.tail = frame;
    this.count++;
  }

  prepend(frame: FrameNo): void {
    this.words[frame * WORDS + Word.previous] = NONE;
    this.words[frame * WORDS + Word.next] = this.head;
    if (this.head === NONE) this.tail = frame;
    else this.words[this.head * WORDS + Word.previous] = frame;
    this.head = frame;
    this.count++;
  }

  remove(frame: FrameNo): void {
    const before = this.words[frame * WORDS + Word.previous]!;
    const after = this.words[frame * WORDS + Word.next]!;
    if (before === NONE) this.head = after as FrameNo;
    else this.words[before * WORDS + Word.next] = after;
    if (after === NONE) this.tail = before as FrameNo;
    else this.words[after * WORDS + Word.previous] = before;
    this.words[frame * WORDS + Word.previous] = NONE;
    this.words[frame * WORDS + Word.next] = NONE;
    this.count--;
  }

  /** Puts `frame` into the place of `old`. */
  replace(old: FrameNo, frame: FrameNo): void {
    const before = this.words[old * WORDS + Word.previous]!;
    const after = this.words[old * WORDS + Word.next]!;
    this.words[frame * WORDS + Word.previous] = before;
    this.words[frame * WORDS + Word.next] = after;
    if (before === NONE) this.head = frame;
    else this.words[before * WORDS + Word.next] = frame;
    if (after === NONE) this.tail = frame;
    else this.words[after * WORDS + Word.previous] = frame;
    this.words[old * WORDS + Word.previous] = NONE;
    this.words[old * WORDS + Word.next] = NONE;
  }

  /** The frame after `frame`, or NONE. Take it before removing `frame`. */
  after(frame: FrameNo): FrameNo {
    return this.words[frame * WORDS + Word.next] as FrameNo;
  }
}
