/** When, in `ordered`, the next commit of all images is due without anybody asking for it. */
import type { DurabilityContext } from "./durability-context.ts";
import type { Extending } from "./extending.ts";

/** Uncommitted blocks as a share of the ring at which a commit begins before its time. */
const EARLY_SHARE = 1 / 12;
/** The same as a share of the dirty limit: what is uncommitted cannot go home and make room. */
const EARLY_DIRTY_SHARE = 1 / 4;

export class LossWindow {
  /** Between two commits, microseconds. */
  lengthUs = 5_000_000;
  private readonly context: DurabilityContext;
  private readonly extending: Extending;
  private startUs: number;

  constructor(context: DurabilityContext, extending: Extending) {
    this.context = context;
    this.extending = extending;
    this.startUs = context.nowUs();
  }

  /** A commit of all images begins. */
  begin(): void {
    this.startUs = this.context.nowUs();
  }

  /** Something is to be said at its end: of blocks, or that home is no longer than the journal says. */
  private get isNeeded(): boolean {
    return this.context.cache.commits.uncommitted > 0 || this.context.ledger.exact.size > 0;
  }

  /** When the window is over, if a commit may begin then; microseconds on the clock. */
  get endUs(): number {
    const { cache, journal } = this.context;
    const mayCommit = journal.isReady && !journal.busy && journal.hasRoom(cache.commits.uncommitted);
    return mayCommit && this.isNeeded ? this.startUs + this.lengthUs : Number.POSITIVE_INFINITY;
  }

  /** The window is over, something waits for a commit, or too much is uncommitted that cannot go home before it. */
  get isDue(): boolean {
    const { cache, journal, writer } = this.context;
    const { uncommitted, extending } = cache.commits;
    if (uncommitted > 0) {
      const held = uncommitted - extending;
      if (writer.hasUrgent || (this.context.isCrowded() && held >= extending)) return true;
      if (held > Math.min(journal.blocks * EARLY_SHARE, this.context.dirtyLimit() * EARLY_DIRTY_SHARE)) return true;
      if (this.extending.isWorthwhile) return true;
    }
    if (this.extending.keepsTail) return true;
    return this.isNeeded && this.context.nowUs() >= this.startUs + this.lengthUs;
  }
}
