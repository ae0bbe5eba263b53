/**
 * While `ordered` is being approached, what is uncommitted must come down to what one transaction takes, and stay there until all the rest
 * is durable: clients that write faster than the device would never let it. The most that may be uncommitted falls by one block for every
 * two that go home, so they go on at half the device's rate, and wait only when that is not enough.
 */
import type { WriteCache } from "../cache/write-cache.ts";
import { Counter, type Counters } from "../stats/counters.ts";
import type { Writer } from "../writeback/writer.ts";

/** By how much the most falls for each block that goes home. */
const FALL = 1 / 2;

export interface ApproachContext {
  readonly cache: WriteCache;
  readonly counters: Counters;
  readonly writer: Writer;
}

export class Approach {
  private readonly context: ApproachContext;
  private isUnderway = false;
  /** When it began: uncommitted blocks, and blocks that had gone home. */
  private uncommitted = 0;
  private homed = 0;

  constructor(context: ApproachContext) {
    this.context = context;
  }

  begin(): void {
    this.isUnderway = true;
    this.uncommitted = this.context.cache.commits.uncommitted;
    this.homed = this.context.counters.at[Counter.writebackBlocks]!;
  }

  end(): void {
    this.isUnderway = false;
  }

  /** No further block may come now. While a device hangs there is no telling for how long that would be: then all go on. */
  get isFull(): boolean {
    if (!this.isUnderway || this.context.writer.hasStalled) return false;
    const { cache, counters } = this.context;
    return cache.commits.uncommitted > this.uncommitted - FALL * (counters.at[Counter.writebackBlocks]! - this.homed);
  }
}
