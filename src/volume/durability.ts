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
import type { DurabilityContext, DurabilityMode } from "./durability-context.ts";
import { Modes } from "./modes.ts";
import type { ShapeChange } from "./reshape.ts";
import type { BatchOperation } from "./transactions.ts";

/** Of what the ring holds, what hangs may be at most if it is to be committed once more, over and over, for the room of the rest. */
const HANGING_SHARE = 3 / 4;

export class Durability extends Modes {
  constructor(context: DurabilityContext, mode: DurabilityMode) {
    super(context, mode);
    const { cache, transactions } = context;
    const { frames } = cache;
    const versionOf = (frame: FrameNo): Version => ({ stamp: frames.stamp(frame), mark: frames.commit(frame) });
    cache.commits.homeLimit = (image) =>
      cache.commits.holdsBack && !image.extension.isOpen
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

  /** A write to bytes `offset` to `end` - 1 of `image` must wait for others to go home. */
  isHeld(image: Image, offset: number, end: number): boolean {
    return this.extending.isHeld(image, offset, end);
  }

  /** Blocks of an extension that go home together. */
  get extensionRun(): number {
    return this.extending.together;
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
    return !this.isBroken && !live.isLeaving && (live.commits + live.awaited > 0 || !this.isCertain({ slot }));
  }

  /** The journal has of `image` what is older than home, or may have. */
  isOutrun(image: Image): boolean {
    const live = this.context.transactions.live(image.slot);
    const isOlder = live.needsRevoking || this.needsCommit(live) || (live.commits > 0 && image.shapeUnflushed);
    return !this.isBroken && (isOlder || !this.isCertain(image));
  }

  /** What voids what the journal has of the image is a commit that speaks of all that it has now. */
  private needsCommit(live: LiveImage): boolean {
    return live.isMixed || live.exactAt > 0;
  }

  /**
   * Takes all of `image` home, and leaves the journal with nothing older. Where a record is voided only by a commit of the frame that
   * has come over it, that is made: 1. half of block 7 is punched  2. a drain begins  3. the other half is written  4. the drain ends,
   * the power is cut, and recovery would bring back what was punched. So is it where home is ahead of the journal, and recovery would
   * cut it back.
   */
  takeHome(image: Image, done: (result: number) => void): void {
    this.flushHome(image, false, (result) => {
      const isDone =
        this.isBroken || !this.isOpen(image) || !this.needsCommit(this.context.transactions.live(image.slot));
      if (result === 0 && !isDone) this.waiters.push({ image, isHome: false, done });
      else done(result);
    });
  }

  /**
   * See `CheckpointContext`. What is uncommitted comes before, in a transaction of its own: together they would be more than there is room
   * for when the tail comes to them again.
   */
  commitAgain(sequence: number, done: (result: number) => void): void {
    const { cache, transactions } = this.context;
    const commit = (result: number): void => {
      const images = result < 0 ? result : this.toCommitAgain(sequence);
      if (typeof images === "number") {
        done(images);
        return;
      }
      for (const image of images) cache.commits.again(image, transactions.live(image.slot).upTo(sequence));
      this.commitNow(done);
    };
    const images = this.toCommitAgain(sequence);
    if (typeof images === "number") done(images);
    else if (cache.commits.uncommitted === 0) commit(0);
    else this.commitNow(commit);
  }

  /** The images of which it is to be committed, or a negated error number; -ENOSPC: that is too much, or for too little. */
  private toCommitAgain(sequence: number): readonly Image[] | number {
    const { cache, ledger, journal, writer } = this.context;
    const images: Image[] = [];
    let frames = 0;
    let isHanging = false;
    for (const live of ledger.pending(sequence).keys()) {
      const image = this.imageOf(live);
      const hangs = image !== undefined && writer.isStalled(image);
      if (image === undefined || !(hangs || image.hasFlag(ImageFlag.failing))) continue;
      const isTold = cache.commits.holdsBack || this.canBeTold(image);
      // Committed behind a change of shape that it came before, it would undo that.
      if (!isTold || image.isHomeShut || live.unfinished.length > 0) return -E.EAGAIN;
      isHanging ||= hangs;
      images.push(image);
      frames += live.upTo(sequence).size;
    }
    const isForLittle = isHanging && this.hangingBlocks() > HANGING_SHARE * journal.usedBlocks;
    const isTooMuch = frames > this.room.most && ledger.oldest(() => true) < sequence;
    const hasRoom = journal.hasRoom(cache.commits.uncommitted + frames);
    return frames === 0 || isForLittle || isTooMuch || !hasRoom ? -E.ENOSPC : images;
  }

  /** Blocks that the journal alone has, of images that hang. */
  private hangingBlocks(): number {
    const { ledger, writer } = this.context;
    let blocks = 0;
    for (const live of ledger.liveImages()) {
      const image = this.imageOf(live);
      if (image === undefined || !writer.isStalled(image)) continue;
      for (const sequence of live.records.values()) if (sequence > 0) blocks++;
    }
    return blocks;
  }

  private imageOf(live: LiveImage): Image | undefined {
    const slot = this.context.transactions.slotOf(live);
    return slot === undefined ? undefined : this.context.image(slot);
  }

  /** See `ShapeJournal`. */
  whenRoom(isBegun: boolean, begin: () => void): void {
    this.room.enter(isBegun, begin);
  }

  /** See `ShapeJournal`. */
  isOver(): void {
    this.room.leave();
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
    const { ledger } = this.context;
    for (const { image: live } of operations) live.awaited++;
    const end = (isTold: boolean): void => {
      for (const { image: live } of operations) {
        live.awaited--;
        ledger.release(live);
      }
      done(isTold);
    };
    this.declarations.push({ image, operations, done: end });
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
    const { ledger, transactions } = this.context;
    ledger.leaving(transactions.live(slot));
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
      else if (!this.isBroken) this.declareGone(live, told);
      else this.voidWaiters.push(whenVoid);
    };
    if (this.isBroken || !isNeeded) told(false);
    else this.declareGone(live, told);
  }

  private declareGone(live: LiveImage, told: (isTold: boolean) => void): void {
    this.room.enter(false, () => {
      this.declareChange(undefined, [{ kind: "gone", image: live, offset: 0, length: 0 }], (isTold) => {
        this.room.leave();
        told(isTold);
      });
    });
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
}
