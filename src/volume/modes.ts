/**
 * Changes of the mode of durability, one after the other; `durability.ts` says what the modes promise. A change is over when what the new
 * one promises holds.
 */
import { assert } from "../base/assert.ts";
import { E } from "../base/errno.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import { NOTHING_DIRTY } from "../writeback/image-home.ts";
import { Approach } from "./approach.ts";
import { Committing } from "./committing.ts";
import type { DurabilityContext, DurabilityMode } from "./durability-context.ts";

const LEAVE_RETRY_US = 500_000;

export class Modes extends Committing {
  private readonly held: (() => void)[] = [];
  private readonly approach: Approach;
  /** A change of mode is under way, and what begins those that wait for its end. */
  private isChanging = false;
  private readonly changes: (() => void)[] = [];
  /**
   * Told which mode the next engine is to begin in, should this one be killed: another than `ordered` before home may be newer than the
   * journal, and `ordered` when it no longer is.
   */
  onMode: (mode: DurabilityMode) => void = () => undefined;

  constructor(context: DurabilityContext, mode: DurabilityMode) {
    super(context, mode);
    this.approach = new Approach(context);
  }

  /** No further block may come now: see `Room` and `Approach`. */
  get isFull(): boolean {
    return this.room.isFull || this.approach.isFull;
  }

  /** Runs `begin`, which changes an image's shape, unless the mode is being changed to or from `ordered`: then afterwards. */
  whenSteady(begin: () => void): void {
    if (this.isTurning) this.held.push(begin);
    else begin();
  }

  /** The change of mode that `done` waits for begins; it gets to know after those that were held. */
  private turning(done: (result: number) => void): (result: number) => void {
    this.isTurning = true;
    return (result) => {
      this.isTurning = false;
      for (const begin of this.held.splice(0)) begin();
      done(result);
    };
  }

  /** Changes the mode, after those changes that were asked for before; `done` gets 0 when what the new one promises holds, or a negated error number. */
  become(mode: DurabilityMode, done: (result: number) => void): void {
    this.inTurn((ended) => this.change(mode, ended), done);
  }

  /** One change at a time, or: 1. `ordered` is on its way  2. `sync` is asked for, and is said to hold: it does  3. `ordered` begins. */
  private inTurn(change: (ended: (result: number) => void) => void, done: (result: number) => void): void {
    const begin = (): void =>
      change((result) => {
        done(result);
        const next = this.changes.shift();
        if (next === undefined) this.isChanging = false;
        else next();
      });
    if (this.isChanging) this.changes.push(begin);
    else {
      this.isChanging = true;
      begin();
    }
  }

  private change(mode: DurabilityMode, done: (result: number) => void): void {
    if (mode === this.mode && !this.isBetween) {
      done(0);
      return;
    }
    const opened = mode === "volatile" ? 0 : this.openLive();
    if (opened < 0) done(opened);
    else if (mode === "ordered") {
      this.approach.begin();
      this.approachOrdered(this.turning(done));
    } else if (this.mode === "ordered") this.leaveOrdered(mode, this.turning(done));
    else this.settle(mode, done);
  }

  /**
   * Opens the images that live commits name: what home has newer of one of them is to be durable, and its records void. 0 or a
   * negated error number. One that was not opened since the engine began would be passed over: 1. block 7 is committed  2. in
   * `volatile` it is written again, and goes home  3. the engine is killed  4. `sync` begins, and is said to hold  5. the power is
   * cut, and recovery brings the older bytes back.
   */
  openLive(): number {
    const { ledger, transactions } = this.context;
    for (const live of ledger.liveImages()) {
      if (live.isLeaving) continue;
      const slot = transactions.slotOf(live);
      const image = slot === undefined ? 0 : this.context.open(slot);
      if (typeof image === "number" && image < 0 && image !== -E.ESTALE) return image; // its file is being removed
    }
    return 0;
  }

  /** A mode that is not `ordered` begins; in `sync` all that was written before is to be safe. */
  private settle(mode: DurabilityMode, done: (result: number) => void): void {
    this.onMode(mode);
    this.settleMode(mode);
    if (mode !== "sync") {
      done(0);
      return;
    }
    this.isBetween = true;
    this.commitAll((result) => {
      if (result < 0 && this.isBroken) this.takeAllHome((outcome) => this.begun(outcome, done));
      else this.begun(result, done);
    });
  }

  /**
   * After a restart in another mode than `ordered`, with shape changes in the journal: the engine before was killed, or failed, on
   * its way to `ordered`, and they must go before anything comes home past them.
   */
  resume(): void {
    if (this.mode === "ordered" || this.isBroken || !this.context.ledger.hasActions) return;
    const { mode } = this;
    this.settleMode("ordered");
    this.leaveAtLast(mode);
  }

  private leaveAtLast(mode: DurabilityMode): void {
    const { context } = this;
    const leave = (ended: (result: number) => void): void => {
      if (this.mode === "ordered" && this.isBetween) this.leaveOrdered(mode, ended);
      else ended(0); // another change has come between
    };
    this.inTurn(leave, (result) => {
      if (result < 0) context.timers.at(context.nowUs() + LEAVE_RETRY_US, () => this.leaveAtLast(mode));
    });
  }

  /**
   * The first transaction must fit into the journal: what is too much for it goes home first, and what the journal has, if it leaves too
   * little room for what may be uncommitted in `ordered`. Changes of shape that the journal was not told of are over and durable
   * by then, and records that speak of what was before are void. No change of shape begins meanwhile: so after the first round
   * only one that had begun before counts, and not that an image was opened, of which nothing is known but that it was closed in order.
   */
  private approachOrdered(done: (result: number) => void, isFirst = true): void {
    const again = (result: number): void => {
      if (result === 0) {
        this.approachOrdered(done, false);
        return;
      }
      this.approach.end();
      done(result);
    };
    const isUnsettled = (image: Image): boolean =>
      image.gated || (!this.canBeTold(image) && (isFirst || this.isChanged(image)));
    if (!this.room.isTooMuch && ![...this.context.images()].some(isUnsettled)) {
      if (!this.room.hasForBlocks) {
        this.context.checkpoint.all(again);
        return;
      }
      this.approach.end();
      this.settleMode("ordered");
      this.beginOrdered(done);
      return;
    }
    const isEvery = this.room.isTooMuch;
    this.forEach((image, ended) => {
      if (isEvery || isUnsettled(image)) this.flushHome(image, false, ended);
      else ended(0);
    }, again);
  }

  /** Its shape is known to have changed since it was flushed, or what the journal has of another one is not void. */
  private isChanged(image: Image): boolean {
    return image.hasFlag(ImageFlag.shape) || this.context.transactions.live(image.slot).isShorter;
  }

  /**
   * The first instant. What home has got past the journal must be durable, and records that it has outrun be void, or that
   * instant would not be one.
   */
  private beginOrdered(done: (result: number) => void): void {
    const settle = (image: Image, ended: (result: number) => void): void => {
      this.context.writer.flush(image, NOTHING_DIRTY, false, (result) => {
        if (result < 0) ended(result);
        else this.waiters.push({ image, isHome: true, done: ended });
      });
    };
    this.forEach(settle, (result) => {
      if (result < 0) done(result);
      else
        this.commitAll((outcome) => {
          if (outcome === 0) this.onMode("ordered");
          this.begun(outcome, done);
        });
    });
  }

  private begun(result: number, done: (result: number) => void): void {
    if (result === 0) this.isBetween = false;
    done(result);
  }

  /** Shape changes lie in the journal as something to do: they must not be done over what comes home past it. */
  private leaveOrdered(mode: DurabilityMode, done: (result: number) => void): void {
    this.context.checkpoint.all((result) => {
      if (result < 0 || this.mode !== "ordered") done(result);
      else if (this.context.ledger.hasActions || this.actsUnderway || this.declarations.length > 0)
        this.leaveOrdered(mode, done);
      else {
        assert(this.context.ledger.exact.size === 0, "recovery would cut an image that home may make longer now");
        this.settle(mode, done);
      }
    });
  }

  private settleMode(mode: DurabilityMode): void {
    this.mode = mode;
    this.isBetween = mode === "ordered";
    const { cache } = this.context;
    const holdsBack = mode === "ordered" && !this.isBroken;
    if (cache.commits.holdsBack !== holdsBack) cache.holdBack(this.context.images(), holdsBack);
  }
}
