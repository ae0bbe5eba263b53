/**
 * Keeps room in the journal: when a third of it is taken, takes home what the oldest commits alone hold, and moves the tail past them.
 * Commits go on meanwhile; who finds no room waits for that, or goes home.
 */
import type { Ticker } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import type { Timers } from "../base/timers.ts";
import { asInstant } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import type { Journal } from "../journal/journal.ts";
import type { Ledger } from "../journal/ledger.ts";
import type { LiveImage } from "../journal/live-image.ts";
import type { Writer } from "../writeback/writer.ts";
import type { Removals } from "./removals.ts";

/** Share of the ring in use at which a checkpoint begins, and how much one frees. */
const BEGIN_SHARE = 1 / 3;
const FREE_SHARE = 1 / 6;
/** From which on what hangs is committed once more, though nobody wants for room yet: that takes room itself, beside what writers may bring. */
const SCARCE_SHARE = 1 / 2;
const RETRY_US = 200_000;
/** What a flush of an image that hangs comes to: no device says that. */
const GIVEN_UP = -E.ECANCELED;

export interface CheckpointContext {
  readonly journal: Journal;
  readonly ledger: Ledger;
  readonly writer: Writer;
  readonly ticker: Ticker;
  readonly timers: Timers;
  readonly removals: Removals;
  nowUs(): number;
  /** The image that the journal knows as `live`, opened if need be; 0: it was closed, and flushed before; or a negated error number. */
  imageOf(live: LiveImage): Image | number;
  /**
   * Has committed once more what commits up to `sequence` alone have of images that cannot go home, now or as long as they hang; `done`
   * gets 0, or a negated error number.
   */
  commitAgain(sequence: number, done: (result: number) => void): void;
  /** Has everything committed that is not. */
  commitAll(done: (result: number) => void): void;
}

interface HomeFlush {
  readonly image: Image;
  readonly done: (result: number) => void;
}

export class Checkpoint {
  private readonly context: CheckpointContext;
  private isActive = false;
  private isWanted = false;
  private pausedUntilUs = 0;
  /** What hangs was given up before room was scarce: as soon as it is, it is committed once more. */
  private isHindered = false;
  private allWaiters: ((result: number) => void)[] = [];
  /** Of these all that was uncommitted is committed. Checkpoints went on meanwhile: that may have needed the room. */
  private committedWaiters: ((result: number) => void)[] = [];
  private isCommitting = false;
  /** Flushes at home that nobody but the room waits for. */
  private readonly flushes = new Set<HomeFlush>();
  /** Waits until no superblock is being written. */
  private delayed: (() => void) | undefined;

  constructor(context: CheckpointContext) {
    this.context = context;
  }

  /** Somebody found no room. */
  makeRoom(): void {
    this.isWanted = true;
  }

  /** Empties the journal of all that it holds now: `done` gets 0, or the first error on the way. */
  all(done: (result: number) => void): void {
    this.allWaiters.push(done);
  }

  /** Called once a turn of the loop. */
  pump(): void {
    const { journal, ledger } = this.context;
    if (journal.broken !== 0) {
      this.goOn(); // what it waited for may be what has failed
      for (const done of [...this.allWaiters.splice(0), ...this.committedWaiters.splice(0)]) done(journal.broken);
      return;
    }
    for (const { image, done } of this.flushes) if (this.context.writer.isStalled(image)) done(GIVEN_UP);
    if (this.allWaiters.length > 0 && !this.isCommitting) this.commitFirst();
    this.goOn();
    if (this.isActive || journal.isTrimming) return;
    if (this.committedWaiters.length > 0) {
      this.isActive = true;
      this.begin(
        ledger.oldest(() => false),
        this.committedWaiters.splice(0),
      );
      return;
    }
    const isPaused = this.context.nowUs() < this.pausedUntilUs && !(this.isHindered && this.isScarce);
    if (!(this.isWanted || this.isOverfull) || ledger.isEmpty || isPaused) return;
    this.isActive = true;
    this.begin(this.target(), []);
  }

  private goOn(): void {
    if (this.context.journal.isTrimming) return;
    const { delayed } = this;
    this.delayed = undefined;
    delayed?.();
  }

  private get isOverfull(): boolean {
    return this.context.journal.usedBlocks > this.context.journal.blocks * BEGIN_SHARE;
  }

  private commitFirst(): void {
    const waiters = this.allWaiters.splice(0);
    this.isCommitting = true;
    this.context.commitAll((result) => {
      this.isCommitting = false;
      if (result < 0) for (const done of waiters) done(result);
      else this.committedWaiters.push(...waiters);
    });
  }

  /** Ring blocks that one checkpoint frees. */
  private get fairShare(): number {
    return this.context.journal.blocks * FREE_SHARE;
  }

  /** The commits that are to go: the oldest, as many as free `wanted` ring blocks. */
  private target(wanted = this.fairShare): number {
    const { journal, ledger } = this.context;
    return ledger.oldest((end) => journal.blocksBefore(end) >= wanted);
  }

  private begin(sequence: number, waiters: readonly ((result: number) => void)[]): void {
    const isPatient = waiters.length > 0;
    this.isHindered = false;
    this.takeHome(
      sequence,
      (result) => {
        if (result === 0) this.trim(sequence, waiters);
        else if (isPatient) this.end(result, waiters);
        else if (result === GIVEN_UP && !this.isScarce) this.hinder();
        else this.renew(sequence, result);
      },
      isPatient,
    );
  }

  private hinder(): void {
    this.isHindered = true;
    this.end(GIVEN_UP, []);
  }

  private get isScarce(): boolean {
    const { journal } = this.context;
    return this.isWanted || journal.usedBlocks > journal.blocks * SCARCE_SHARE;
  }

  /**
   * An image cannot go home, or hangs, which must not keep all others out of the journal: what the oldest commits have of it is committed
   * once more, at the log's end, and the tail moves past them all the same. If there is no room for that, past fewer.
   */
  private renew(sequence: number, failure: number, wanted = this.fairShare): void {
    const { ledger } = this.context;
    const isHome = (): boolean => ledger.pending(sequence).size === 0;
    const goOn = (): void => this.trim(sequence, [() => this.isOverfull && this.pause()]); // of one that has much, over and over
    if (isHome()) {
      goOn();
      return;
    }
    this.context.commitAgain(sequence, (result) => {
      let [less, fewer] = [wanted, sequence];
      if (result === -E.ENOSPC) while (less > 1 && fewer === sequence) fewer = this.target((less /= 2));
      if (fewer < sequence) this.renew(fewer, failure, less);
      else if (result < 0 || !isHome()) this.end(failure, []);
      else goOn();
    });
  }

  /**
   * Makes home have all that commits up to `sequence` alone hold. What was dirty when they were made goes home first; a block
   * that was written again while it was on its way takes a second round, of all that is dirty. Unless it `isPatient` it gives up with
   * -ETIMEDOUT what hangs.
   */
  takeHome(sequence: number, done: (result: number) => void, isPatient = true, isFirst = true): void {
    const { ledger } = this.context;
    const pending = [...ledger.pending(sequence)];
    let left = pending.length;
    let first = 0;
    if (left === 0) done(0);
    for (const [live, instant] of pending) {
      const until = isFirst || instant < 0 ? instant : Number.POSITIVE_INFINITY;
      this.flush(live, until, isPatient, (result) => {
        first ||= result;
        if (--left > 0) return;
        if (first < 0) {
          done(first);
          return;
        }
        ledger.acted(sequence);
        this.takeHome(sequence, done, isPatient, false);
      });
    }
  }

  private flush(live: LiveImage, instant: number, isPatient: boolean, done: (result: number) => void): void {
    const { writer, ticker, removals } = this.context;
    if (live.isLeaving && !live.isRemoved) {
      removals.flush((result) => {
        if (result === 0) live.removed();
        done(result);
      });
      return;
    }
    const image = this.context.imageOf(live);
    if (image === 0) live.settleAll(Number.POSITIVE_INFINITY); // of a file that is closed home has all
    if (typeof image === "number") done(image);
    else if (!isPatient && writer.isStalled(image)) done(GIVEN_UP);
    else {
      const ended = isPatient ? done : this.unlessStalled(image, done);
      writer.flush(image, asInstant(Math.min(instant, ticker.tick())), false, ended);
    }
  }

  /** Calls `done` once: when it is called itself, or `image` has come to be stalled before that. */
  private unlessStalled(image: Image, done: (result: number) => void): (result: number) => void {
    const flush: HomeFlush = {
      image,
      done: (result) => {
        if (this.flushes.delete(flush)) done(result);
      },
    };
    this.flushes.add(flush);
    return flush.done;
  }

  private trim(sequence: number, waiters: readonly ((result: number) => void)[]): void {
    const { journal, ledger } = this.context;
    if (ledger.isEmpty) {
      this.end(0, waiters);
      return;
    }
    if (journal.isTrimming) {
      this.delayed = () => this.trim(sequence, waiters); // the lease is being renewed
      return;
    }
    journal.trim(sequence, (result) => {
      this.isWanted = false;
      this.end(result, waiters);
    });
  }

  private end(result: number, waiters: readonly ((result: number) => void)[]): void {
    this.isActive = false;
    if (result < 0) this.pause();
    for (const done of waiters) done(result);
  }

  private pause(): void {
    this.pausedUntilUs = this.context.nowUs() + RETRY_US;
    this.context.timers.at(this.pausedUntilUs, () => undefined); // to look again
  }
}
