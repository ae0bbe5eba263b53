/**
 * Who waits for a flush, for a commit, or for a change of shape to be told to the journal; and the transactions that are made for
 * them. `durability.ts` says what the modes promise; this keeps it.
 */
import { E } from "../base/errno.ts";
import type { Image } from "../cache/images.ts";
import { isAction } from "../journal/contract.ts";
import type { LiveImage } from "../journal/live-image.ts";
import { NOTHING_DIRTY } from "../writeback/image-home.ts";
import { Answers } from "./answers.ts";
import type { DurabilityContext, DurabilityMode } from "./durability-context.ts";
import { Extending } from "./extending.ts";
import { type FlushWaiter, FlushWaiters } from "./flush-waiters.ts";
import { LossWindow } from "./loss-window.ts";
import { Room } from "./room.ts";
import type { BatchOperation, Extended } from "./transactions.ts";

const VOID_RETRY_US = 500_000;
/** Declarations, or images with something to void, in one transaction. */
const MOST_TOGETHER = 32;

interface Declaration {
  /** Whose gate is shut meanwhile. */
  image: Image | undefined;
  operations: readonly BatchOperation[];
  /** `isTold`: a commit has it. */
  done: (isTold: boolean) => void;
}

export class Committing {
  /** In force; `become` changes it. */
  mode: DurabilityMode;
  readonly window: LossWindow;
  protected readonly context: DurabilityContext;
  protected readonly waiters = new FlushWaiters();
  protected declarations: Declaration[] = [];
  /** Who waits for all that is uncommitted now to be committed. */
  private commitWaiters: ((result: number) => void)[] = [];
  private readonly nowWaiters: ((result: number) => void)[] = [];
  /** The mode is in force, but what it promises of the past may not hold, or it is to be left: in `ordered` too, flushes wait. */
  protected isBetween = false;
  /** The transaction that is being written changes a shape. */
  protected actsUnderway = false;
  private renewed = false;
  /** Of a journal that has failed: whether it is declared void, and who waits for that. */
  protected voiding: "no" | "begun" | "done" = "no";
  private voidAtUs = 0;
  protected readonly voidWaiters: ((result: number) => void)[] = [];
  /** Who waits until it is known what the journal has. */
  protected readonly certainWaiters: (() => void)[] = [];
  private readonly answers = new Answers();
  protected readonly room: Room;
  protected readonly extending: Extending;
  /** The mode is being changed to or from `ordered`, and what has yet to change an image's shape waits. */
  protected isTurning = false;

  constructor(context: DurabilityContext, mode: DurabilityMode) {
    this.context = context;
    this.mode = mode;
    this.room = new Room(context);
    this.extending = new Extending(context, this.room);
    this.window = new LossWindow(context, this.extending);
    const { cache } = context;
    cache.commits.tracks = true;
    cache.commits.holdsBack = mode === "ordered";
  }

  /** The journal takes nothing any more. */
  get isBroken(): boolean {
    return this.context.journal.broken !== 0;
  }

  /** Flushes are answered before anything is safe. */
  get flushesAtOnce(): boolean {
    return this.mode === "volatile" || (this.mode === "ordered" && !this.isBroken && !this.isBetween);
  }

  /** A guest's flush of `image`, as the mode has it. */
  flush(image: Image, dataOnly: boolean, answer: (result: number) => void): void {
    if (this.flushesAtOnce) answer(0);
    else this.beginFlush(image, dataOnly, this.answers.later(answer));
  }

  private beginFlush(image: Image, dataOnly: boolean, done: (result: number) => void): void {
    if (this.isBroken) this.flushHome(image, dataOnly, done);
    else if (image.shapeUnflushed) {
      // Its size, holes and name are made durable first, without its dirty data.
      this.context.writer.flush(image, NOTHING_DIRTY, false, (result) => {
        if (result < 0) done(result);
        else this.waiters.push({ image, isHome: false, done });
      });
    } else this.waiters.push({ image, isHome: false, done });
  }

  /** Takes the image home and flushes its device, whatever the mode. One that was closed meanwhile is home, or gone. */
  flushHome(image: Image, dataOnly: boolean, done: (result: number) => void): void {
    const { writer, ticker } = this.context;
    if (!this.isOpen(image)) done(0);
    else
      writer.flush(image, ticker.tick(), dataOnly && !image.shapeUnflushed, (result) =>
        this.flushedHome(image, result, done),
      );
  }

  /** If its shape was changed meanwhile, that may have taken bytes that the flush is for: then it must be durable too. */
  private flushedHome(image: Image, result: number, done: (result: number) => void): void {
    const { writer, transactions } = this.context;
    if (result < 0 || !this.isOpen(image)) done(result);
    else if (!this.isCertain(image)) this.certainWaiters.push(() => this.flushedHome(image, 0, done));
    else if (image.shapeUnflushed) {
      writer.flush(image, NOTHING_DIRTY, false, (outcome) => this.flushedHome(image, outcome, done));
    } else {
      if (this.isBroken && this.voiding !== "done") this.voidWaiters.push(done);
      else if (this.isBroken || !transactions.live(image.slot).needsRevoking) done(0);
      else this.waiters.push({ image, isHome: true, done });
    }
  }

  protected isOpen(image: Image): boolean {
    return this.context.image(image.slot) === image;
  }

  /**
   * False while a transaction may be replayed that the ledger does not know: one that is being written, or, until it is erased, a
   * killed predecessor's last. It may have older bytes of the image than home, or speak of another size.
   */
  protected isCertain({ slot }: Pick<Image, "slot">): boolean {
    const { journal, transactions } = this.context;
    return this.isBroken || (journal.isReady && !transactions.live(slot).isUnderway);
  }

  /** See `DrainContext`. */
  whenVoid(done: (result: number) => void): void {
    if (this.isBroken && this.voiding !== "done") this.voidWaiters.push(done);
    else done(0);
  }

  private voided(): void {
    this.voiding = "done";
    this.context.ledger.clear();
    for (const done of this.voidWaiters.splice(0)) done(0);
  }

  /** It cannot be declared void now: whoever waits for that is told. */
  private voidLater(result: number): void {
    this.voiding = "no";
    this.voidAtUs = this.context.nowUs() + VOID_RETRY_US;
    this.context.timers.at(this.voidAtUs, () => undefined);
    for (const done of this.voidWaiters.splice(0)) done(result);
  }

  /** Calls `act` for every image in use; `done` gets the first error when all have ended, or 0. */
  protected forEach(
    act: (image: Image, ended: (result: number) => void) => void,
    done: (result: number) => void,
  ): void {
    const images = [...this.context.images()];
    let left = images.length + 1;
    let first = 0;
    const ended = (result: number): void => {
      first ||= result;
      if (--left === 0) done(first);
    };
    for (const image of images) act(image, ended);
    ended(0);
  }

  /** `done` gets 0 when all that was written up to now is in the journal or durable at home. */
  commitAll(done: (result: number) => void): void {
    this.commitWaiters.push(done);
  }

  /**
   * The same for all that the journal can be told of, without waiting for home or for room, which waits for who asks; -ENOSPC: there is none.
   */
  protected commitNow(done: (result: number) => void): void {
    this.nowWaiters.push(done);
  }

  /** When `pump` has something to do without anything else happening; microseconds on the clock. */
  get nextUs(): number {
    return this.mode === "ordered" && !this.isBroken ? this.window.endUs : Number.POSITIVE_INFINITY;
  }

  /** Begins what may begin. Called once a turn of the loop. */
  pump(): void {
    const { journal, checkpoint } = this.context;
    if (this.isBroken) this.giveUp();
    this.room.pump();
    if (this.isBroken || (journal.isReady && !journal.busy)) for (const go of this.certainWaiters.splice(0)) go();
    if (!this.renewed) this.renew();
    if (this.room.isShort) checkpoint.makeRoom();
    // What needs no transaction ends at once, and may make more to do: nothing else would wake the loop for it.
    do checkpoint.pump();
    while (journal.isReady && !journal.busy && !this.isBroken && this.begin());
    if (journal.isReady && !journal.busy) this.openHomes();
    checkpoint.pump(); // the last may have found no room
    if (!this.answers.isEmpty && journal.busy) this.context.io.begin();
    this.answers.send();
  }

  /** What is declared and finds no room must not keep its image from going home: that may make room. Who declared it shuts home again. */
  private openHomes(): void {
    for (const { image } of this.declarations) {
      if (image?.isHomeShut !== true) continue;
      image.isHomeShut = false;
      this.context.writer.reopened(image);
    }
  }

  /** Guests wait for `pump` to answer their flushes. */
  get isAnswering(): boolean {
    return !this.answers.isEmpty;
  }

  /** Begins the next transaction, or ends what needs none. False if there is nothing to do now. */
  private begin(): boolean {
    const isAsked = this.commitWaiters.length + this.nowWaiters.length > 0;
    if (isAsked || (this.mode === "ordered" && this.isDue)) return this.commitEverything();
    if (this.waiters.length > 0 && this.commitGroup()) return true;
    if (this.declarations.length === 0) return false;
    if (!this.context.journal.hasRoom(0)) {
      this.context.checkpoint.makeRoom();
      return false;
    }
    this.transact([], this.declarations.splice(0, MOST_TOGETHER), [], () => undefined);
    return true;
  }

  /** The first transaction of an engine comes after superblocks that tell it from its predecessor's. */
  private renew(): void {
    this.renewed = true;
    this.context.journal.renew();
  }

  /** In `ordered`. */
  private get isDue(): boolean {
    return this.declarations.length > 0 || this.waiters.length > 0 || this.window.isDue;
  }

  private takeWaiters(): { flushes: FlushWaiter[]; closed: number } {
    return this.waiters.take(MOST_TOGETHER, (image) => this.isOpen(image));
  }

  /** One instant of all images. */
  private commitEverything(): boolean {
    const { cache, journal, checkpoint } = this.context;
    if (!journal.hasRoom(cache.commits.uncommitted)) {
      checkpoint.makeRoom();
      const ended = this.nowWaiters.splice(0);
      for (const done of ended) done(-E.ENOSPC);
      if (cache.commits.holdsBack || this.commitWaiters.length === 0) return ended.length > 0;
      const waiters = this.commitWaiters.splice(0);
      this.takeAllHome((result) => {
        for (const done of waiters) done(result);
      });
      return true;
    }
    const declarations = this.declarations.splice(0, MOST_TOGETHER);
    const { flushes } = this.takeWaiters();
    const waiters = this.commitWaiters.splice(0);
    const nowWaiters = this.nowWaiters.splice(0);
    const images = [...this.context.images()];
    this.window.begin();
    const told = this.mode === "ordered" ? images : images.filter((image) => this.canBeTold(image));
    const untold = new Set(images.filter((image) => !told.includes(image)));
    // Whoever waits for a commit may be about to leave `ordered`, or to empty the journal.
    const isQuiet =
      this.mode === "ordered" && !this.isBetween && !this.isTurning && waiters.length + nowWaiters.length === 0;
    const extended: Extended = isQuiet ? this.extending.choose(images) : new Map();
    const isForUntold = ({ image, isHome }: FlushWaiter): boolean => !isHome && untold.has(image);
    for (const { image, done } of flushes.filter(isForUntold)) this.flushHome(image, true, done);
    const answered = flushes.filter((flush) => !isForUntold(flush));
    const ended = (result: number): void => {
      for (const done of nowWaiters) done(result);
      for (const done of waiters) this.committed(result, untold, done);
    };
    this.transact(told, declarations, answered, ended, extended);
    return true;
  }

  protected takeAllHome(done: (result: number) => void): void {
    this.forEach((image, ended) => this.flushHome(image, false, ended), done);
  }

  /** All of it is in the journal; in `sync` what the journal could not, or cannot, tell of is taken home. */
  private committed(result: number, untold: ReadonlySet<Image>, done: (result: number) => void): void {
    if (result < 0 || this.mode === "ordered") {
      done(result);
      return;
    }
    this.forEach((image, ended) => {
      if (untold.has(image) || !this.canBeTold(image)) this.flushHome(image, false, ended);
      else if (this.context.transactions.live(image.slot).needsRevoking)
        this.waiters.push({ image, isHome: true, done: ended });
      else ended(0);
    }, done);
  }

  /** False for an image of which no record may come before its shape is durable and what the journal has of another one is void. */
  protected canBeTold(image: Image): boolean {
    return !image.shapeUnflushed && !this.context.transactions.live(image.slot).isCut;
  }

  /** The flushes that wait, each the way that is cheaper for it. False if all of them have to wait on. */
  private commitGroup(): boolean {
    const { router, journal, checkpoint } = this.context;
    const { flushes, closed } = this.takeWaiters();
    const images = new Set(flushes.map(({ image }) => image));
    const toJournal = new Set<Image>();
    let frames = 0;
    for (const image of images) {
      const waitsForData = flushes.some((flush) => flush.image === image && !flush.isHome);
      const goesHome = waitsForData && (router.route(image, images.size === 1) === "home" || image.shapeUnflushed);
      if (goesHome || !journal.hasRoom(frames + (waitsForData ? image.uncommittedMost : 0))) {
        if (!goesHome) checkpoint.makeRoom();
        continue;
      }
      toJournal.add(image);
      frames += waitsForData ? image.uncommittedMost : 0;
    }
    const later = flushes.filter(({ image, isHome }) => isHome && !toJournal.has(image));
    this.waiters.push(...later);
    for (const { image, isHome, done } of flushes)
      if (!isHome && !toJournal.has(image)) this.flushHome(image, true, done);
    const together = flushes.filter(({ image }) => toJournal.has(image));
    if (together.length === 0) return closed > 0 || later.length < flushes.length;
    const withData = [...toJournal].filter((image) => together.some((flush) => flush.image === image && !flush.isHome));
    this.transact(withData, this.declarations.splice(0, MOST_TOGETHER), together, () => undefined);
    return true;
  }

  /** One transaction of what is uncommitted of `images`, of what is declared, and of what the flushes must void. */
  private transact(
    images: readonly Image[],
    declarations: readonly Declaration[],
    flushes: readonly FlushWaiter[],
    done: (result: number) => void,
    extended: Extended = new Map(),
  ): void {
    const { journal, transactions } = this.context;
    const flushed = new Set(flushes.map(({ image }) => image));
    const revokes = [...flushed].flatMap((image) => transactions.revokes(transactions.live(image.slot)));
    const declared = declarations.flatMap((declaration) => declaration.operations);
    const isKnown = ({ image }: BatchOperation): boolean => transactions.slotOf(image) !== undefined; // what a commit says of it
    const operations = [...revokes, ...declared.filter(isKnown)];
    const named = this.mode === "ordered" ? this.extending.named() : [];
    const hasWork = operations.length + named.length > 0 || images.some((image) => image.uncommittedMost > 0);
    this.actsUnderway = operations.some(({ kind }) => isAction(kind));
    const end = (result: number): void => {
      this.actsUnderway = false;
      // A journal that failed keeps nobody from going on.
      for (const declaration of declarations) declaration.done(result === 0);
      for (const flush of flushes) this.endFlush(flush, result);
      done(result);
    };
    if (hasWork) transactions.commit(journal, { images, operations, named, extended }, end);
    else end(0);
  }

  private endFlush({ image, isHome, done }: FlushWaiter, result: number): void {
    if (!this.isOpen(image)) {
      done(0); // it was closed meanwhile: nothing of it is anywhere but at home
      return;
    }
    const live: LiveImage = this.context.transactions.live(image.slot);
    if (result === 0 && live.needsRevoking) this.waiters.push({ image, isHome: true, done });
    else if (result === 0) done(0);
    else if (isHome) this.voidWaiters.push(done);
    else this.flushHome(image, true, done);
  }

  /**
   * The journal has failed. What waited for it goes home; so does all that it alone holds, and then it is declared void: until
   * that is done, no flush is answered, since the journal may have older bytes of what it is to promise, or come to have.
   */
  private giveUp(): void {
    const { cache, journal, checkpoint } = this.context;
    if (cache.commits.holdsBack) cache.holdBack(this.context.images(), false);
    for (const { image, isHome, done } of this.waiters.takeAll()) {
      if (isHome && this.voiding !== "done") this.voidWaiters.push(done);
      else this.flushHome(image, true, done);
    }
    // A superblock may have failed beside a transaction that does not.
    if (this.voiding === "no" && !journal.busy && this.context.nowUs() >= this.voidAtUs) {
      this.voiding = "begun";
      checkpoint.takeHome(Number.POSITIVE_INFINITY, (result) => {
        if (result < 0) this.voidLater(result);
        else this.context.abandon((outcome) => (outcome < 0 ? this.voidLater(outcome) : this.voided()));
      });
    }
    for (const { done } of this.declarations.splice(0)) done(false);
    for (const done of [...this.nowWaiters.splice(0), ...this.commitWaiters.splice(0)]) done(journal.broken);
  }
}
