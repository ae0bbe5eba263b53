/** Where in the ring the next commit goes, and how full the ring is. Positions are ring blocks. */
import { assert } from "../base/assert.ts";

export class Ring {
  readonly blocks: number;
  /** Where the first live commit begins; equal to `head` when none is live. */
  tail: number;
  /** Where the last commit ends. */
  head: number;

  constructor(blocks: number, tail: number, head: number) {
    this.blocks = blocks;
    this.tail = tail;
    this.head = head;
  }

  /** Blocks from tail to head, what was skipped at the file's end included. */
  get used(): number {
    return (this.head - this.tail + this.blocks) % this.blocks;
  }

  /** Where a commit of `count` blocks can lie whole; -1 if nowhere. Never fills the ring: full would look empty. */
  place(count: number): number {
    const { head, tail, blocks } = this;
    if (head < tail) return head + count < tail ? head : -1;
    if (head + count < blocks || (head + count === blocks && tail > 0)) return head;
    return count < tail ? 0 : -1;
  }

  /** A commit of `count` blocks lies at `position`, which `place` gave. */
  advance(position: number, count: number): void {
    assert(position + count <= this.blocks, "a commit does not wrap");
    this.head = (position + count) % this.blocks;
  }
}
