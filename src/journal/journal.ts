/**
 * The journal while it is open: appends transactions, one at a time, and moves the tail on. It knows frames and images by what
 * its user says of them; what should be committed when is decided in `volume/`.
 *
 *   commit   1. descriptor and frames in one vectored write, for each commit of the transaction  2. one flush of the device;
 *            a transaction of one commit is one durable write instead, which says nothing of what was written before
 *            3. the ledger takes it in, and the caller is told
 *   trim     1. both superblocks, one after the other, each flushed  2. the ledger forgets, the room is free
 *
 * After a failed write or flush nothing more is appended (`broken`): what is on the medium then is not known, and a flush that
 * succeeds later proves nothing.
 */
import { assert } from "../base/assert.ts";
import { E } from "../base/errno.ts";
import { event, result, runTask, type Task } from "../base/task.ts";
import { BLOCK_BYTES, type Instant } from "../base/units.ts";
import { Counter } from "../stats/counters.ts";
import { Ahead } from "./ahead.ts";
import type { Batch, JournalContext } from "./batch.ts";
import { CommitBuilder, type Part } from "./commit-builder.ts";
import { isAction } from "./contract.ts";
import { DESCRIPTOR_BLOCKS_MAX, ringOffset } from "./layout.ts";
import { Ring } from "./ring.ts";
import type { Scan } from "./scan.ts";
import type { Superblock } from "./superblock.ts";
import { Superblocks, writeWhole } from "./superblocks.ts";

/** Room that only transactions without frames may take: revokes must always find some, or home could not be vouched for. */
export const RESERVED_BLOCKS = 64;

export class Journal {
  private error: number;
  /** A transaction is being written. */
  busy = false;
  /** Ring blocks that are taken when it is over, at the most. */
  private claimed = 0;
  /** `renew` has succeeded: transactions may come. */
  isReady = false;
  private trimming = false;
  private readonly context: JournalContext;
  private readonly fd: number;
  private readonly superblocks: Superblocks;
  private readonly ring: Ring;
  private readonly ahead: Ahead;
  private readonly builder: CommitBuilder;
  /** Sequence of the next commit; every commit below `durable` is on stable media. */
  private next: number;
  private durable: number;

  /**
   * `fd`: the journal file, opened for direct I/O where that works. `scan` says where the log ends; `superblock` is what
   * the file has. `broken`: an earlier engine's journal had failed. `written`: see `Ahead`.
   */
  constructor(
    context: JournalContext,
    fd: number,
    superblock: Superblock,
    { position, sequence, previous, epoch }: Scan,
    broken: number,
    written: number,
  ) {
    this.context = context;
    this.fd = fd;
    this.error = broken;
    this.superblocks = new Superblocks(context.io, context.clock, fd, { ...superblock, epoch: epoch + 1 });
    this.ring = new Ring(superblock.blocks, superblock.tailPosition, position);
    this.ahead = new Ahead(context.io, fd, this.ring, written, (outcome) => {
      if (outcome < 0) this.fail(outcome);
    });
    this.next = sequence;
    this.durable = sequence;
    this.builder = new CommitBuilder(context, previous);
  }

  /** The negated error number of the first write or flush that failed; 0: none did. */
  get broken(): number {
    return this.error;
  }

  /** Sequence of the last commit that is on stable media; 0: there is none. */
  get lastDurable(): number {
    return this.durable - 1;
  }

  /** Ring blocks, and how many of them are taken. */
  get blocks(): number {
    return this.ring.blocks;
  }

  get usedBlocks(): number {
    return this.ring.used;
  }

  /** Blocks that are free once the tail is at `position`, beside those that are now. */
  blocksBefore(position: number): number {
    return (position - this.ring.tail + this.ring.blocks) % this.ring.blocks;
  }

  /** True if a transaction of `frames` blocks fits now, behind the one that is being written, and leaves `beside` blocks. */
  hasRoom(frames: number, beside = frames > 0 && this.context.mayRevoke() ? RESERVED_BLOCKS : 0): boolean {
    const used = this.busy ? Math.max(this.ring.used, this.claimed) : this.ring.used;
    return used + this.worst(frames) + beside < this.ring.blocks;
  }

  /** Most ring blocks that a transaction of `frames` blocks takes. */
  worst(frames: number): number {
    const { commitFrames } = this.context;
    const commits = Math.ceil((frames + 1) / commitFrames) + (frames > 0 ? 1 : 0); // and one for actions that found no room
    const skipped = Math.min(frames, commitFrames) + DESCRIPTOR_BLOCKS_MAX; // at the ring's end
    return frames + commits * DESCRIPTOR_BLOCKS_MAX + skipped;
  }

  /** Appends a transaction; `done` gets 0 when it is on stable media, or a negated error number (ENOSPC and not `broken`: there is no
   * room, see `hasRoom`). Not while `busy`. */
  commit(batch: Batch, done: (result: number) => void): void {
    assert(!this.busy, "one transaction at a time");
    if (this.broken !== 0) {
      done(this.broken);
      return;
    }
    this.busy = true;
    this.claimed = this.ring.used + this.worst(batch.count);
    runTask(this.write(batch), (outcome) => {
      this.busy = false;
      done(outcome);
    });
  }

  private *write(batch: Batch): Task<number> {
    const { builder, ring } = this;
    const then = builder.instantOf(batch);
    const first = this.next;
    const parts: Part[] = [];
    const { head } = ring;
    const { checksum } = builder;
    for (let at = 0, isLast = false; !isLast; ) {
      const part = builder.build(batch, at, parts.length === 0, then);
      part.sequence = this.next;
      at += builder.records;
      isLast = at === batch.count && builder.addActions(batch, part, then);
      const blocks = builder.blocks + builder.records;
      const position = ring.place(blocks);
      if (position < 0) {
        // Nothing of it counts; what was written of it is written over.
        ring.head = head;
        builder.checksum = checksum;
        this.next = first;
        return -E.ENOSPC;
      }
      parts.push(part);
      yield* event((clear) => this.ahead.take(position, position + blocks, clear));
      const outcome = yield* this.writePart(part, position, first, isLast);
      if (outcome < 0) return this.fail(outcome);
    }
    const outcome = parts.length === 1 ? 0 : yield* this.flush();
    if (outcome < 0) return this.fail(outcome);
    if (this.broken !== 0) return this.broken; // by a trim meanwhile: the journal may be void by now
    this.settle(batch, parts, then.instant);
    this.ahead.keep();
    return 0;
  }

  private *flush(): Task<number> {
    return yield* result((done) => this.context.io.fsync(this.fd, true, done));
  }

  /** Known to the next engine, too, before anybody acts on it: home may be given what the journal was not told of from now on. */
  private fail(outcome: number): number {
    if (this.error === 0) {
      this.error = outcome;
      this.context.failed(outcome);
    }
    return outcome;
  }

  /** The transaction is on stable media: into the books with it, in the order in which it takes place. */
  private settle(batch: Batch, parts: readonly Part[], instant: Instant): void {
    const { counters, ledger } = this.context;
    for (const { kind, image, offset, length } of batch.operations) {
      if (kind === "revoke") ledger.revoke(image, offset, length);
      else if (kind === "gone") ledger.leave(image, this.next - 1);
    }
    this.enter(parts, instant);
    counters.at[Counter.commits]! += parts.length;
    for (const { kind, image, offset, length } of batch.operations) {
      if (isAction(kind)) image.unfinished.push({ sequence: this.next - 1, kind, offset, length });
      else if (kind === "cancel") ledger.cancel(image, offset);
    }
    this.durable = this.next;
  }

  private enter(parts: readonly Part[], instant: Instant): void {
    const { ledger } = this.context;
    for (const { sequence, end, checksum: own, images, blocks, sizes, acting, exact } of parts) {
      ledger.add(
        sequence,
        end,
        own,
        images,
        blocks.map((list) => Float64Array.from(list)),
        sizes,
        acting,
        exact,
        instant,
        sequence === parts.at(-1)!.sequence,
      );
    }
  }

  private *writePart(part: Part, position: number, first: number, isLast: boolean): Task<number> {
    const { builder, ring, context, superblocks } = this;
    const blocks = builder.blocks + builder.records;
    superblocks.extendLease();
    builder.finish({
      id: superblocks.current.id,
      sequence: this.next++,
      position,
      first,
      isLast,
      epoch: superblocks.current.epoch,
      civilMs: superblocks.civilMs(),
    });
    ring.advance(position, blocks);
    part.end = ring.head;
    part.checksum = builder.checksum;
    const bytes = blocks * BLOCK_BYTES;
    context.counters.at[Counter.journalBytes]! += bytes;
    const durably = isLast && part.sequence === first;
    const { iov, entries } = builder;
    const write = { iov, entries, bytes, offset: ringOffset(position), durably };
    return yield* writeWhole(context.io, this.fd, write);
  }

  /** Makes the tail pass all commits up to `sequence`; all that they hold is durable at home. One at a time. */
  trim(sequence: number, done: (result: number) => void): void {
    assert(!this.trimming, "one trim at a time");
    const tail = this.context.ledger.tailBehind(sequence);
    if (tail === undefined || this.broken !== 0) {
      done(this.broken);
      return;
    }
    this.trimming = true;
    runTask(this.moveTail(tail), (outcome) => {
      this.trimming = false;
      if (outcome < 0) this.fail(outcome);
      else {
        this.ring.tail = tail.position;
        this.context.ledger.drop(sequence);
      }
      done(outcome);
    });
  }

  private *moveTail(tail: { position: number; sequence: number; previous: number }): Task<number> {
    const { current } = this.superblocks;
    current.tailPosition = tail.position;
    current.tailSequence = tail.sequence;
    current.tailPrevious = tail.previous;
    return yield* this.superblocks.writeBoth(this.durable);
  }

  /**
   * Before the first commit: writes both superblocks, so that commits of this engine are told from its predecessor's; then erases
   * what that one, if it was killed, may have written of a transaction that was not acknowledged, since nothing tells whether it
   * is on stable media. In this order: the tail may have been moving, and a superblock lead to what is to be erased.
   */
  renew(): void {
    if (this.broken !== 0) return; // it may be one that could not be read: nothing is known of its tail
    this.trimming = true;
    runTask(this.beginAnew(), (outcome) => {
      this.trimming = false;
      if (outcome < 0) this.fail(outcome);
      else this.isReady = true;
    });
  }

  private *beginAnew(): Task<number> {
    const { head, tail } = this.ring;
    const written = yield* this.superblocks.writeBoth(this.durable);
    if (written < 0) return written;
    // A commit lies where the one before it ends, or, if it did not fit there, at the ring's beginning.
    for (const position of tail <= head && tail > 0 ? [head, 0] : [head]) {
      const erased = yield* this.superblocks.erase(ringOffset(position));
      if (erased < 0) return erased;
    }
    return yield* result((done) => this.context.io.fsync(this.fd, true, done));
  }

  /** Home files are about to be written: the lease is renewed when it runs out. */
  keepLease(): void {
    // The first superblocks of an engine are another's to write (`renew`), and tell the time too.
    if (this.broken !== 0 || !this.isReady || this.trimming || !this.superblocks.isLeaseShort) return;
    this.trimming = true;
    runTask(this.superblocks.writeNext(this.durable), (outcome) => {
      this.trimming = false;
      if (outcome < 0) this.fail(outcome);
    });
  }

  /** Recovery takes a home file that was modified at `ms` of the civil clock for one that we wrote. */
  isWithinLease(ms: number): boolean {
    return ms <= this.superblocks.leaseMs;
  }

  /** A tail is being moved, or a superblock written. */
  get isTrimming(): boolean {
    return this.trimming;
  }
}
