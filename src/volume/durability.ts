/**
 * What a flush promises, and how the promise is kept: where cache, journal and writeback meet.
 *
 *   sync       a flush waits until its image's data is safe: in the journal or home, whichever is cheaper (`route.ts`). Flushes
 *              that wait together share one transaction.
 *   ordered    a flush returns at once. Every window all that is uncommitted, of all images, becomes one transaction; only
 *              what is committed goes home. A change of an image's shape is committed, with all before it, before it is done.
 *   volatile   a flush returns at once, and promises nothing.
 *
 * Without a journal, or after it has failed, flushes take their image home (`writeback/image-home.ts`), in `ordered` too: what is
 * promised then is more, not less, but for the one instant of all images.
 *
 * A flush that goes home voids what the journal has of older bytes before it is answered: 1. block 7 is committed  2. it is
 * written again, and goes home  3. a flush finds nothing dirty and returns  4. the power is cut, and recovery would bring the older
 * bytes back.
 */
import { E } from "../base/errno.ts";
import { BLOCK_BYTES, type FrameNo, type InodeSlot } from "../base/units.ts";
import { NONE } from "../cache/frames.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import type { LiveImage, Version } from "../journal/live-image.ts";
import { Committing, NOTHING_DIRTY } from "./committing.ts";
import type { DurabilityContext, DurabilityMode } from "./durability-context.ts";
import type { ShapeChange } from "./reshape.ts";
import type { BatchOperation } from "./transactions.ts";

const LEAVE_RETRY_US = 500_000;

export class Durability extends Committing {
  /** The mode is being changed to or from `ordered`, and what has yet to change an image's shape waits. */
  private isTurning = false;
  private readonly held: (() => void)[] = [];
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
    const { cache, transactions } = context;
    const { frames } = cache;
    const versionOf = (frame: FrameNo): Version => ({ stamp: frames.stamp(frame), mark: frames.commit(frame) });
    cache.commits.homeLimit = (image) =>
      cache.commits.holdsBack
        ? Math.max(image.homeSize, transactions.live(image.slot).claimed)
        : Number.POSITIVE_INFINITY;
    cache.commits.onHomed = (image, frame) => {
      transactions.live(image.slot).homed(frames.block(frame), versionOf(frame), true);
    };
    cache.commits.onOutrun = (image, frame, isFlushing) => {
      transactions.live(image.slot).outrun(frames.block(frame), versionOf(frame), isFlushing);
    };
  }

  /** Nothing comes home that the journal was not told of: home is never newer than it. */
  get isTold(): boolean {
    return this.mode === "ordered" && !this.isBetween && !this.isBroken;
  }

  /** Copies within home would be in no transaction. */
  get refusesCopies(): boolean {
    return this.context.cache.commits.holdsBack;
  }

  /**
   * See `ShapeJournal`. Recovery takes for ours what was modified until some seconds after the journal last told the time. It is not waited
   * for: that is on stable media long before a filesystem writes the new time there.
   */
  changing(): void {
    this.context.journal.keepLease();
  }

  /** Somebody has set the time of modification of the file at `slot`: if that is later than now, the journal must say so. */
  timeSet(slot: InodeSlot, seconds: number): void {
    const { journal, transactions } = this.context;
    if (!this.isNamed(slot) || journal.isWithinLease(seconds * 1000)) return;
    const operation = { kind: "reshape", image: transactions.live(slot), offset: 0, length: 0 } as const;
    this.declareChange(undefined, [operation], () => undefined);
  }

  /** Live commits name the file at `slot`, or may: one that is closed may be outrun, and not known to be. */
  isNamed(slot: InodeSlot): boolean {
    const live = this.context.transactions.live(slot);
    return !this.isBroken && !live.isLeaving && (live.commits > 0 || !this.isCertain({ slot }));
  }

  /** The journal has of `image` what is older than home, or may have. */
  isOutrun(image: Image): boolean {
    const live = this.context.transactions.live(image.slot);
    const isOlder = live.needsRevoking || live.isMixed || (live.commits > 0 && image.shapeUnflushed);
    return !this.isBroken && (isOlder || !this.isCertain(image));
  }

  /**
   * Takes all of `image` home, and leaves the journal with nothing older. Where a record is voided only by a commit of the frame that
   * has come over it, that is made: 1. half of block 7 is punched  2. a drain begins  3. the other half is written  4. the drain ends,
   * the power is cut, and recovery would bring back what was punched.
   */
  takeHome(image: Image, done: (result: number) => void): void {
    this.flushHome(image, false, (result) => {
      const isMixed = !this.isBroken && this.isOpen(image) && this.context.transactions.live(image.slot).isMixed;
      if (result === 0 && isMixed) this.waiters.push({ image, isHome: false, done });
      else done(result);
    });
  }

  /** See `CheckpointContext`. */
  commitAgain(sequence: number, done: (result: number) => void): void {
    const { cache, ledger, journal, transactions } = this.context;
    const failing: Image[] = [];
    let frames = 0;
    for (const live of ledger.pending(sequence).keys()) {
      const slot = transactions.slotOf(live);
      const image = slot === undefined ? undefined : this.context.image(slot);
      if (image === undefined || !image.hasFlag(ImageFlag.failing)) continue;
      if (image.isHomeShut || live.unfinished.length > 0) {
        done(-E.EAGAIN); // committed behind a change of shape that it came before, it would undo that
        return;
      }
      failing.push(image);
      frames += live.upTo(sequence).size;
    }
    if (frames === 0 || !journal.hasRoom(cache.commits.uncommitted + frames)) {
      done(-E.ENOSPC);
      return;
    }
    for (const image of failing) cache.commits.again(image, transactions.live(image.slot).upTo(sequence));
    this.commitAll(done);
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

  /** See `ShapeJournal`. */
  get lastCommit(): number {
    return this.context.journal.lastDurable;
  }

  /** The image's shape is about to change at home: `done` when it may, and whether the journal has it as something to do. */
  declare(image: Image, changes: readonly ShapeChange[], done: (isDeclared: boolean) => void): void {
    const live = this.context.transactions.live(image.slot);
    const isNamed = live.commits > 0 || !this.isCertain(image);
    const cut = changes.find(({ kind, offset }) => kind === "truncate" && offset < image.size && isNamed);
    const isOrdered = this.mode === "ordered";
    if (this.isBroken || !(isOrdered || cut !== undefined)) done(false);
    else if (!isOrdered)
      this.declareChange(image, [{ kind: "reshape", image: live, offset: cut!.offset, length: 0 }], () => done(false));
    // By an engine that was killed: home may have it by now, and must get nothing from before any more.
    else if (!changes.every((change) => live.hasUnfinished(change))) this.declareAll(image, live, changes, done);
    else if (this.isCertain(image)) done(true);
    else this.certainWaiters.push(() => this.declare(image, changes, done)); // a cancel of it may be on the medium
  }

  private declareAll(
    image: Image,
    live: LiveImage,
    changes: readonly ShapeChange[],
    done: (isDeclared: boolean) => void,
  ): void {
    const operations = changes.map((change) => ({ ...change, image: live }));
    this.declareChange(image, operations, done);
  }

  /** See `ShapeJournal`. */
  cancel(image: Image, done: () => void): void {
    const live = this.context.transactions.live(image.slot);
    const { length } = live.unfinished;
    if (this.isBroken) done();
    else if (length > 0) {
      const cancels = live.unfinished.map(({ sequence }) => sequence);
      this.declareChange(
        image,
        cancels.map((offset) => ({ kind: "cancel", image: live, offset, length: 0 })),
        done,
      );
    }
    // A commit made meanwhile may speak of the size that it was to have: the next one says what it has.
    else if (live.commits > 0 || this.context.journal.busy)
      this.declareChange(image, [{ kind: "reshape", image: live, offset: image.size, length: 0 }], done);
    else done();
  }

  private declareChange(
    image: Image | undefined,
    operations: readonly BatchOperation[],
    done: (isTold: boolean) => void,
  ): void {
    this.declarations.push({ image, operations, done });
  }

  /** The bytes of `image` in [offset, end) were changed at home, past the cache, but not yet durably; `declared`: the journal says so. */
  changedAtHome(image: Image, offset: number, end: number, declared: boolean): void {
    const { ticker, transactions, ledger } = this.context;
    if (declared) {
      ledger.finish(transactions.live(image.slot));
      return;
    }
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.ceil(end / BLOCK_BYTES);
    transactions.changedAtHome(image, first, last, ticker.tick());
    transactions.cut(transactions.live(image.slot), image.size);
  }

  /** The file at `slot` has lost its last name, and what is dirty of it is about to be dropped: home is not to be believed from now on. */
  leaving(slot: InodeSlot): void {
    this.context.transactions.live(slot).leave(Number.POSITIVE_INFINITY);
  }

  /** The file at `slot` has lost its last name: `done` when it may be removed, and recovery will not miss it. */
  gone(slot: InodeSlot, done: () => void): void {
    const live = this.context.transactions.live(slot);
    const end = (): void => {
      this.context.transactions.forget(slot);
      done();
    };
    const { isReady, busy } = this.context.journal; // not ready: it may hold what a killed predecessor did not hear of
    const isNeeded = this.isBroken || live.commits > 0 || !isReady || busy;
    if (!isNeeded) live.leave(0);
    const whenVoid = (result: number): void => {
      if (result === 0) end();
      else this.voidWaiters.push(whenVoid);
    };
    const told = (isTold: boolean): void => {
      if (isTold || this.voiding === "done" || !isNeeded) end();
      else if (!this.isBroken)
        this.declareChange(undefined, [{ kind: "gone", image: live, offset: 0, length: 0 }], told);
      else this.voidWaiters.push(whenVoid);
    };
    if (this.isBroken || !isNeeded) told(false);
    else this.declareChange(undefined, [{ kind: "gone", image: live, offset: 0, length: 0 }], told);
  }

  /**
   * In `ordered`, after a restart: takes a size back that a write gave the image whose blocks did not come. No commit would tell the journal
   * of it: 1. a write makes the image longer  2. the engine is killed before the first block, and so is the client  3. the next one
   * has nothing to commit, and makes home longer  4. the power is cut, and the image is longer than it was at the last instant.
   */
  dropUnwritten(image: Image): void {
    const { cache, transactions } = this.context;
    const { frames, commits } = cache;
    let isCommitted = true;
    commits.forEach(image, () => {
      isCommitted = false;
    });
    if (!commits.holdsBack || !isCommitted) return;
    let end = Math.max(image.homeSize, transactions.live(image.slot).claimed);
    for (let frame = image.dirty.head; frame !== NONE; frame = image.dirty.after(frame))
      end = Math.max(end, frames.block(frame) * BLOCK_BYTES + frames.high(frame));
    if (end < image.size) image.shrinkTo(end);
  }

  /** A device flush of `image` begins. */
  flushingAtHome(image: Image): void {
    this.context.transactions.live(image.slot).flushBegins();
  }

  /** It has ended. */
  flushedAtHome(image: Image, succeeded: boolean): void {
    const live = this.context.transactions.live(image.slot);
    live.flushEnds(succeeded);
    if (succeeded && !image.shapeUnflushed) live.homeIsDurable();
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
    else if (mode === "ordered") this.approachOrdered(this.turning(done));
    else if (this.mode === "ordered") this.leaveOrdered(mode, this.turning(done));
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
      if (result < 0) done(result);
      else this.approachOrdered(done, false);
    };
    const isUnsettled = (image: Image): boolean =>
      image.gated || (!this.canBeTold(image) && (isFirst || this.isChanged(image)));
    if (!this.room.isTooMuch && ![...this.context.images()].some(isUnsettled)) {
      if (!this.room.hasForAll) {
        this.context.checkpoint.all(again);
        return;
      }
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
      else this.settle(mode, done);
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
