/** Puts together what keeps a volume's promises (`durability.ts`), around a journal that is open and scanned. */
import type { Clock, Ticker } from "../base/clock.ts";
import type { Timers } from "../base/timers.ts";
import { asBlock, asInstant, type FrameNo, type InodeSlot } from "../base/units.ts";
import { type FrameTable, NONE } from "../cache/frames.ts";
import { ImageFlag, type ImageTable } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import type { Slab } from "../cache/slab.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import type { Identity } from "../journal/contract.ts";
import { Journal } from "../journal/journal.ts";
import { commitMark, Ledger } from "../journal/ledger.ts";
import { type Scan, UNREAD } from "../journal/scan.ts";
import type { Superblock } from "../journal/superblock.ts";
import type { Counters } from "../stats/counters.ts";
import type { Io } from "../sys/io.ts";
import type { Writer } from "../writeback/writer.ts";
import { Checkpoint } from "./checkpoint.ts";
import { Durability } from "./durability.ts";
import type { DurabilityMode } from "./durability-context.ts";
import { Removals } from "./removals.ts";
import { Router } from "./route.ts";
import { Transactions } from "./transactions.ts";

/** A journal file as an engine finds it. */
export interface OpenJournal {
  /** For I/O, direct where the filesystem has it. */
  readonly fd: number;
  readonly superblock: Superblock;
  /** `UNREAD` of one that was broken before, and cannot be read now. */
  readonly scan: Scan;
  /** What `failed` was told in the life of an earlier engine on this journal; 0: nothing. */
  readonly broken: number;
  /** Ring blocks from the first that were written since the file was made, at least nearly. */
  readonly written: number;
  /** A descriptor of a directory of the backing filesystem, by which that is flushed: so removals become durable. */
  readonly removedFd: number;
  /** Most frames in one commit, up to COMMIT_FRAMES_MAX. */
  readonly commitFrames: number;
  /** Which file the image at `slot` is, and its path below the backing directory. */
  identity(slot: InodeSlot): Identity;
  path(slot: InodeSlot): string;
  /** Every commit up to `sequence` is on stable media: what the next engine is to know. */
  acknowledged(sequence: number): void;
  /** A write or flush of the journal failed with a negated error number, and it is given up: the next engine must know too. */
  failed(result: number): void;
  /** Declares the journal void: no recovery looks into it. `done` gets 0 when that is durable, or a negated error number. */
  abandon(done: (result: number) => void): void;
}

export interface JournalingContext {
  readonly slab: Slab;
  readonly frames: FrameTable;
  readonly cache: WriteCache;
  readonly table: ImageTable;
  readonly counters: Counters;
  readonly clock: Clock;
  readonly ticker: Ticker;
  readonly timers: Timers;
  readonly io: Io;
  readonly writer: Writer;
  nowUs(): number;
  images(): Iterable<Image>;
  image(slot: InodeSlot): Image | undefined;
  open(slot: InodeSlot): Image | number;
  dirtyLimit(): number;
  isCrowded(): boolean;
}

export class Journaling {
  readonly durability: Durability;
  readonly journal: Journal;
  readonly ledger = new Ledger();
  readonly checkpoint: Checkpoint;
  readonly router: Router;
  private readonly transactions: Transactions;
  private readonly removals: Removals;
  private readonly context: JournalingContext;
  private readonly found: OpenJournal;

  constructor(context: JournalingContext, found: OpenJournal, mode: DurabilityMode) {
    const { ledger } = this;
    const { cache, ticker } = context;
    this.context = context;
    this.found = found;
    const names = {
      identity: (slot: InodeSlot) => found.identity(slot),
      path: (slot: InodeSlot) => found.path(slot),
    };
    this.transactions = new Transactions({
      ...context,
      ...names,
      ledger,
      isTold: () => this.durability.isTold,
      acknowledged: (sequence) => found.acknowledged(sequence),
    });
    this.router = new Router(cache);
    const { transactions } = this;
    const journalContext = {
      ...context,
      ledger,
      commitFrames: found.commitFrames,
      imageOf: (slot: InodeSlot) => transactions.live(slot),
      facts: transactions.facts.bind(transactions),
      tick: () => ticker.tick(),
      failed: (result: number) => found.failed(result),
      mayRevoke: () => !this.durability.isTold,
    };
    this.removals = new Removals(context.io, found.removedFd);
    this.journal = new Journal(journalContext, found.fd, found.superblock, found.scan, found.broken, found.written);
    this.checkpoint = new Checkpoint({
      ...context,
      ledger,
      journal: this.journal,
      removals: this.removals,
      imageOf: (live) => {
        const slot = transactions.slotOf(live);
        return slot === undefined || live.isLeaving ? 0 : context.open(slot);
      },
      commitAll: (done) => this.durability.commitAll(done),
      commitAgain: (sequence, done) => this.durability.commitAgain(sequence, done),
    });
    const { journal, checkpoint, router } = this;
    this.durability = new Durability(
      {
        ...context,
        ledger,
        ...names,
        abandon: (done) => this.abandon(done),
        journal,
        checkpoint,
        router,
        transactions,
      },
      mode,
    );
  }

  /** Of a journal that could not be read nobody knows what it alone has: all that there is goes home before it is declared void. */
  private abandon(done: (result: number) => void): void {
    const { found, removals } = this;
    if (found.scan !== UNREAD) found.abandon(done);
    else
      this.flushAll((result) => {
        if (result < 0) done(result);
        else removals.flush((outcome) => (outcome < 0 ? done(outcome) : found.abandon(done)));
      });
  }

  /** Makes all images durable at home; `done` gets 0, or the first error. */
  private flushAll(done: (result: number) => void): void {
    const { writer, ticker } = this.context;
    const all = [...this.context.images()];
    let left = all.length;
    let first = 0;
    if (left === 0) done(0);
    for (const image of all)
      writer.flush(image, ticker.tick(), false, (result) => {
        first ||= result;
        if (--left === 0) done(first);
      });
  }

  /** Takes the live commits into the books; `slots`: the inode records in use. Before frames are restored. */
  load(slots: readonly InodeSlot[]): void {
    const { table } = this.context;
    for (const slot of slots) this.transactions.live(slot);
    this.ledger.load(this.found.scan.commits, this.found.superblock.blocks, (live, sequence) => {
      const slot = this.transactions.slotOf(live);
      if (slot === undefined || (table.flags(slot) & (ImageFlag.cut | ImageFlag.allocation)) === 0) return false;
      return sequence > table.begunAfter(slot);
    });
    for (const slot of slots)
      if ((table.flags(slot) & ImageFlag.dropped) !== 0) this.ledger.leaving(this.transactions.live(slot));
    this.durability.resume();
  }

  /** True if the journal has the bytes of a frame that an earlier engine left. */
  isCommitted(frame: FrameNo): boolean {
    const { frames } = this.context;
    const sequence = this.transactions.live(frames.image(frame)).records.get(frames.block(frame));
    return sequence !== undefined && frames.commit(frame) === commitMark(Math.abs(sequence));
  }

  /**
   * After frames were restored. A live record whose block has no frame was home, or was
   * dropped, when the earlier engine died: home has those bytes, or newer ones. If it has a frame that is newer, home may
   * have the rest of the block newer too.
   */
  reconcile(): void {
    for (const live of this.ledger.liveImages()) {
      if (live.isLeaving) continue; // of which home may have nothing
      const slot = this.transactions.slotOf(live);
      for (const block of Array.from(live.records.keys())) {
        const frame = slot === undefined ? NONE : this.context.cache.find(slot, asBlock(block));
        if (this.durability.isTold) {
          if (frame === NONE) live.settle(block);
        } else if (frame === NONE) live.homeIsNewer(block);
        else if (!this.isCommitted(frame)) live.mix(block, asInstant(0));
      }
      if (slot === undefined) live.homeIsDurable(); // a file that is closed was flushed
    }
  }

  /** The image was opened: the journal may speak of a size that it had before, unless it is told of all that changes one. */
  opened(image: Image): void {
    const live = this.transactions.live(image.slot);
    if (!this.context.cache.commits.holdsBack && !live.isLeaving) live.cut(image.size);
  }

  /** False while closing the image's file would leave a live commit unable to go. */
  mayClose(image: Image): boolean {
    const live = this.transactions.live(image.slot);
    if (live.exactAt > 0 || live.awaited > 0 || image.extension.isOpen) return false;
    return !image.unflushed || (live.commits === 0 && !this.journal.busy);
  }

  forget(slot: InodeSlot): void {
    this.transactions.forget(slot);
  }
}
