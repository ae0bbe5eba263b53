import fc from "fast-check";
import { expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import { BLOCK_BYTES } from "../../src/base/units.ts";
import { Ahead } from "../../src/journal/ahead.ts";
import { ringOffset } from "../../src/journal/layout.ts";
import { Ring } from "../../src/journal/ring.ts";
import type { Done, Io } from "../../src/sys/io.ts";

const BLOCKS = 4000;
/** Blocks that are zeroed at a time. */
const PIECE = 256;

/** A journal that is appended to; zeros end when the test says so. */
class Appending {
  readonly ring: Ring;
  /** Ring blocks that hold a commit. */
  readonly taken = new Set<number>();
  readonly zeroed: [from: number, to: number][] = [];
  readonly failures: number[] = [];
  private readonly ahead: Ahead;
  private done: Done | undefined;

  constructor(head = 0, written = 0) {
    this.ring = new Ring(BLOCKS, 0, head);
    const io = {
      writeDurably: (_fd: number, _iov: number, _count: number, offset: number, done: Done) => {
        const from = (offset - ringOffset(0)) / BLOCK_BYTES;
        this.zeroed.push([from, Math.min(from + PIECE, BLOCKS)]);
        this.done = done;
      },
    } as unknown as Io;
    this.ahead = new Ahead(io, 3, this.ring, written, (result) => this.failures.push(result));
  }

  get zeroing(): [from: number, to: number] | undefined {
    return this.done === undefined ? undefined : this.zeroed.at(-1);
  }

  /** Places a commit of `blocks`. False if it must wait for zeros; then it is placed when they have ended. */
  append(blocks: number): boolean {
    const from = this.ring.place(blocks);
    let isClear = false;
    this.ahead.take(from, from + blocks, () => {
      isClear = true;
      for (let block = from; block < from + blocks; block++) this.taken.add(block);
      this.ring.advance(from, blocks);
      this.ahead.keep();
    });
    return isClear;
  }

  endZeros(result?: number): void {
    const [from, to] = this.zeroing!;
    const { done } = this;
    this.done = undefined;
    done!(result ?? (to - from) * BLOCK_BYTES);
  }
}

test("zeros come before the log, a piece at a time, and never over it", () => {
  const step = fc.oneof(fc.integer({ min: 1, max: 300 }), fc.constant("zeros" as const));
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 1000 }), fc.array(step, { maxLength: 40 }), (head, steps) => {
      const journal = new Appending(head, head);
      let isWaiting = false;
      for (const act of steps) {
        if (act === "zeros") {
          if (journal.zeroing === undefined) continue;
          const [from, to] = journal.zeroing;
          for (let block = from; block < to; block++) expect(journal.taken.has(block)).toBe(false);
          journal.endZeros();
          isWaiting = false;
        } else if (!isWaiting && journal.ring.head + act < BLOCKS) {
          isWaiting = !journal.append(act);
          expect(isWaiting && journal.zeroing === undefined).toBe(false); // or nothing would end the wait
        }
      }
      expect(journal.failures).toEqual([]);
    }),
  );
});

test("what an earlier engine has written is not written again", () => {
  const journal = new Appending(100, 2000);
  journal.append(1);
  expect(journal.zeroed).toEqual([]);
  expect(new Appending(0, BLOCKS).append(10)).toBe(true);
});

test("zeros that fail are told, and no more are written", () => {
  const journal = new Appending();
  journal.append(1);
  journal.endZeros(-E.EIO);
  expect(journal.failures).toEqual([-E.EIO]);
  journal.append(300);
  expect(journal.zeroed).toHaveLength(1);
});
