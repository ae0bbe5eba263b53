/** Whether the journal has room for what may come to be uncommitted in `ordered`. */
import { LANDING_FRAMES } from "../base/limits.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import type { Journal } from "../journal/journal.ts";

/** Uncommitted blocks as a share of the ring at which writers wait. */
const UNCOMMITTED_SHARE = 1 / 6;

export interface RoomContext {
  readonly cache: WriteCache;
  readonly journal: Journal;
}

export class Room {
  private readonly context: RoomContext;

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
    return this.context.cache.commits.holdsBack && !this.hasForAll;
  }

  /** The journal has room for all that may be uncommitted in `ordered`. */
  get hasForAll(): boolean {
    const { journal } = this.context;
    return journal.hasRoom(journal.blocks * UNCOMMITTED_SHARE + LANDING_FRAMES);
  }

  /** More is uncommitted than may be. */
  get isTooMuch(): boolean {
    const { journal, cache } = this.context;
    return cache.commits.uncommitted > journal.blocks * UNCOMMITTED_SHARE;
  }
}
