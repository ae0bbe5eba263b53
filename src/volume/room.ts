/**
 * Whether the journal has room for what may come to be uncommitted in `ordered`; who brings more without a block of its own, a change of
 * shape or a removal, waits for that too: 1. punches, one commit each, fill the journal  2. the last of them zeroes an edge of a committed
 * block  3. that cannot be committed, and until it is, the oldest commit cannot go (`isFull`).
 */
import { Fifo } from "../base/fifo.ts";
import { LANDING_FRAMES } from "../base/limits.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import { type Journal, RESERVED_BLOCKS } from "../journal/journal.ts";
import type { Writer } from "../writeback/writer.ts";

/** Uncommitted blocks as a share of the ring at which writers wait. */
const UNCOMMITTED_SHARE = 1 / 6;
/**
 * Ring blocks that a change of shape may come to take: a commit that declares it, one that cancels it, and one of the frames of its two ends,
 * which are counted twice, since as much may be skipped at the ring's end. RESERVED_BLOCKS and two descriptors are there for the first.
 */
const CHANGE_BLOCKS = 9;
const CHANGES_FREE = 3;

export interface RoomContext {
  readonly cache: WriteCache;
  readonly journal: Journal;
  readonly writer: Writer;
}

export class Room {
  private readonly context: RoomContext;
  /** Changes that have begun, and not ended. */
  private changes = 0;
  private readonly waiting = new Fifo<() => void>();

  constructor(context: RoomContext) {
    this.context = context;
  }

  /**
   * True when no further block may come before some are committed, or, in `ordered`, before the journal has room for all that may
   * then be uncommitted. Else: 1. block 7 is committed, and written again  2. the journal is full  3. the oldest commit cannot go,
   * because it alone has block 7 in a form that may go home, and what has replaced it there cannot be committed.
   */
  get isFull(): boolean {
    return this.isShort || (this.context.cache.commits.holdsBack && this.isTooMuch);
  }

  /** The tail must move before any further block may come. */
  get isShort(): boolean {
    const beside = RESERVED_BLOCKS + Math.max(0, this.changes + 1 - CHANGES_FREE) * CHANGE_BLOCKS;
    return this.context.cache.commits.holdsBack && !this.has(beside);
  }

  /** The journal has room for all blocks that may be uncommitted in `ordered`. */
  get hasForBlocks(): boolean {
    return this.has(RESERVED_BLOCKS);
  }

  /** The same beside a transaction of `blocks` that the tail may not pass for a while. */
  isWideFor(blocks: number): boolean {
    return this.has(2 * RESERVED_BLOCKS + 2 * blocks);
  }

  private has(beside: number): boolean {
    return this.context.journal.hasRoom(this.most, beside + this.spare);
  }

  /** Blocks that may be uncommitted when the last write is let in. */
  private get limit(): number {
    return this.context.journal.blocks * UNCOMMITTED_SHARE;
  }

  /** Blocks that may come to be uncommitted, and be in one transaction. */
  get most(): number {
    return this.limit + LANDING_FRAMES;
  }

  /**
   * Ring blocks for what the oldest transactions have of a device that hangs while others fill the ring: until it is committed once more,
   * at the ring's other end, nothing makes room (`Checkpoint`).
   */
  private get spare(): number {
    const { journal, writer } = this.context;
    return writer.devices.all.length > 1 ? journal.worst(this.most) : 0;
  }

  /** Runs `begin`, which begins a change, when there is room for what may come of it; `isBegun`: an engine that was killed had waited for that. */
  enter(isBegun: boolean, begin: () => void): void {
    if (!isBegun && (this.waiting.length > 0 || this.isFull)) {
      this.waiting.push(begin);
      return;
    }
    this.changes++;
    begin();
  }

  /** It has ended. */
  leave(): void {
    this.changes--;
  }

  /** Lets in what there is room for by now. Called once a turn of the loop. */
  pump(): void {
    while (this.waiting.length > 0 && !this.isFull) {
      this.changes++;
      this.waiting.shift()!();
    }
  }

  /** More is uncommitted than may be. */
  get isTooMuch(): boolean {
    return this.context.cache.commits.uncommitted > this.limit;
  }
}
