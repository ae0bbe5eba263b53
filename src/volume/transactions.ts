/**
 * Transactions from the cache's side: which frames go into one, and what comes of them when it has ended. Knows each image in the
 * journal's books and in the cache's.
 */
import { asBlock, BLOCK_BYTES, type FrameNo, type InodeSlot, type Instant } from "../base/units.ts";
import type { Stretch } from "../cache/extension.ts";
import { FrameState, HOMED, NONE } from "../cache/frames.ts";
import { ImageFlag, type ImageTable } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import type { Batch } from "../journal/batch.ts";
import type { Facts, Identity, OperationKind, Range } from "../journal/contract.ts";
import type { Journal } from "../journal/journal.ts";
import { commitMark, type Ledger } from "../journal/ledger.ts";
import type { LiveImage } from "../journal/live-image.ts";

/** Most operations of one transaction: its descriptor holds them beside as many images. */
const OPERATIONS_MAX = 400;
/** Most images of which one transaction revokes something. */
const IMAGES_MAX = 32;

export type BatchOperation = Batch["operations"][number];

/** Images, and the hole of each that home may fill ahead of the journal. */
export type Extended = ReadonlyMap<Image, Stretch>;

/** What goes into a transaction: all that is uncommitted of `images`, and `operations`. */
export interface Content {
  readonly images: readonly Image[];
  readonly operations: readonly BatchOperation[];
  /** Those of which it speaks in any case. */
  readonly named: readonly LiveImage[];
  /** Those of `images` whose extension it opens, or keeps open. */
  readonly extended: Extended;
}

export interface TransactionContext {
  readonly cache: WriteCache;
  readonly table: ImageTable;
  readonly ledger: Ledger;
  /** Home is never newer than the journal (`Durability.isTold`). */
  isTold(): boolean;
  /** The image in use at `slot`. */
  image(slot: InodeSlot): Image | undefined;
  identity(slot: InodeSlot): Identity;
  /** Below the backing directory. */
  path(slot: InodeSlot): string;
  /** Every commit up to `sequence` is on stable media: a successor of this engine keeps it. */
  acknowledged(sequence: number): void;
}

export class Transactions {
  private readonly context: TransactionContext;
  private readonly lives = new Map<InodeSlot, LiveImage>();
  private readonly slots = new Map<LiveImage, InodeSlot>();
  private frames = new Int32Array(0);
  private isUnderway = false;
  /** Blocks `first` to `end` - 1 of an image that were changed at home, past the cache, while a transaction was being written. */
  private readonly changes: { live: LiveImage; first: number; end: number; instant: Instant }[] = [];
  /** The shortest that each image of the transaction that is being written has been since it began. */
  private shortest = new Map<LiveImage, number>();
  /** Of these, those of which home may have more than it says, and the hole where that is so. */
  private exact: ReadonlyMap<LiveImage, Stretch> = new Map();

  constructor(context: TransactionContext) {
    this.context = context;
  }

  /** The journal's image of the one at `slot`. */
  live(slot: InodeSlot): LiveImage {
    let live = this.lives.get(slot);
    if (live === undefined) {
      live = this.context.ledger.image(this.context.identity(slot));
      live.isInUse = true;
      this.lives.set(slot, live);
      this.slots.set(live, slot);
    }
    return live;
  }

  slotOf(live: LiveImage): InodeSlot | undefined {
    return this.slots.get(live);
  }

  /** The record of `slot` is about to stand for another file, or for none. */
  forget(slot: InodeSlot): void {
    const live = this.lives.get(slot);
    if (live === undefined) return;
    this.lives.delete(slot);
    this.slots.delete(live);
    live.isInUse = false;
    this.context.ledger.release(live);
  }

  facts(live: LiveImage, change: OperationKind | undefined): Facts {
    const slot = this.slots.get(live)!;
    const { table } = this.context;
    const image = this.context.image(slot);
    const flags = table.flags(slot);
    const hasTime = (flags & ImageFlag.mtime) !== 0;
    const { seconds, nanoseconds } = table.mtime(slot);
    const size = image?.size ?? 0;
    return {
      path: this.context.path(slot),
      // A cut that makes it longer may fail yet; one that makes it shorter says its size again if it does.
      size: this.isBeingCut(live, image, flags, change) ? Math.min(table.cut(slot), size) : size,
      mtimeSeconds: hasTime ? seconds : 0,
      mtimeNanoseconds: hasTime ? Math.floor(nanoseconds) : 0,
      isFresh: (flags & ImageFlag.fresh) !== 0,
      exact: this.exactly(live),
    };
  }

  private exactly(live: LiveImage): Range | undefined {
    const hole = this.exact.get(live);
    return hole && { offset: hole.first * BLOCK_BYTES, length: (hole.end - hole.first) * BLOCK_BYTES };
  }

  /**
   * In `ordered` a cut is in force once it is committed, and until a commit says that it has failed. One that waits for a later
   * transaction than the one that is made has done nothing.
   */
  private isBeingCut(live: LiveImage, image: Image | undefined, flags: number, change?: OperationKind): boolean {
    if ((flags & ImageFlag.cut) === 0) return false;
    if (!this.context.cache.commits.holdsBack) return image?.cutHasFailed !== true;
    if (change === "cancel") return false;
    return change === "truncate" || live.unfinished.some(({ kind }) => kind === "truncate");
  }

  /** Begins a transaction; `done` gets 0 or a negated error number. */
  commit(journal: Journal, content: Content, done: (result: number) => void): void {
    const { images, operations, named, extended } = content;
    const { cache } = this.context;
    const room = images.reduce((sum, image) => sum + image.uncommittedMost, 0);
    if (this.frames.length < room) this.frames = new Int32Array(Math.max(room, 1024));
    let count = 0;
    for (const image of images) {
      count = cache.commits.take(image, this.frames, count);
      const hole = extended.get(image);
      if (hole !== undefined) cache.commits.narrowExtension(image, hole);
      else cache.commits.closeExtension(image);
    }
    this.exact = new Map([...extended].map(([{ slot }, hole]) => [this.live(slot), hole]));
    const lives = new Map(images.map(({ slot }) => [slot, this.live(slot)]));
    this.shortest = new Map(images.map((image) => [this.live(image.slot), image.size]));
    const sizes = new Map(this.shortest);
    this.isUnderway = true;
    for (const live of lives.values()) live.commitBegins();
    const batch: Batch = {
      frames: this.frames,
      count,
      operations,
      named: [...new Set([...named, ...this.exact.keys()])],
    };
    journal.commit(batch, (result) => {
      this.isUnderway = false;
      for (const live of lives.values()) live.commitEnds();
      const changes = this.changes.splice(0);
      for (let i = 0; i < count; i++) {
        const frame = this.frames[i] as FrameNo;
        this.end(frame, lives.get(cache.frames.image(frame))!, result === 0);
      }
      if (result === 0) {
        for (const [live, size] of sizes) this.recut(live, size);
        for (const change of changes) this.outdate(change);
        for (const [image, hole] of extended) this.extend(image, hole);
        // Only now: of what it keeps, a successor must find that the frames are committed, or it would need room for them again.
        this.context.acknowledged(journal.lastDurable);
      }
      done(result);
    });
  }

  /** Recovery would make `image` what a commit on stable media tells, unless it was closed or is about to change its shape. */
  private extend(image: Image, hole: Stretch): void {
    const isOpen = this.context.image(image.slot) === image;
    if (isOpen && !image.hasFlag(ImageFlag.failing) && !this.live(image.slot).isLeaving)
      this.context.cache.commits.openExtension(image, hole);
  }

  /** `live` had the frame's slot when the transaction began; meanwhile the image may have been closed, and the slot be another's. */
  private end(frame: FrameNo, live: LiveImage, succeeded: boolean): void {
    const { cache } = this.context;
    const slot = cache.frames.image(frame);
    const isOpen = this.lives.get(slot) === live;
    const image = isOpen ? this.context.image(slot) : undefined;
    const sequence = succeeded ? live.records.get(cache.frames.block(frame)) : undefined;
    if (sequence !== undefined && !live.isLeaving) this.reconcile(frame, live, image);
    const mark = sequence === undefined ? HOMED : commitMark(Math.abs(sequence));
    cache.commits.end(image, frame, succeeded ? mark : 0);
  }

  /**
   * What happened to the frame while it was being committed:
   *   it became durable at home: the record is no longer needed
   *   it was dropped, and no newer one has come: home has newer bytes (zeros, or a copy)
   *   a newer one has come: it has all of this one's bytes, or this one was dropped before, and home has newer ones around it;
   *   where the journal is told of all that drops one, it is the first, and the record stays good: to call the next one the first of
   *   its block would void what the journal has of the rest, and home's may be wiped by a change of shape that is replayed
   */
  private reconcile(frame: FrameNo, live: LiveImage, image: Image | undefined): void {
    const { cache } = this.context;
    const { frames } = cache;
    const block = frames.block(frame);
    if (frames.commit(frame) === HOMED) {
      live.settle(block);
    } else if (image === undefined) {
      live.homeIsNewer(block);
      live.homeIsDurable(); // a file that is closed was flushed
    } else if (frames.state(frame) === FrameState.doomed) {
      const newer = cache.find(image.slot, block);
      if (newer !== NONE) {
        if (!this.context.isTold()) live.mix(block, frames.stamp(newer));
      } else {
        live.homeIsNewer(block);
        image.changeShape();
      }
    }
  }

  /** Blocks `first` to `end` - 1 of `image` were changed at home, past the cache, at `instant`: records of them are outdated, when that is durable. */
  changedAtHome(image: Image, first: number, end: number, instant: Instant): void {
    const live = this.live(image.slot);
    this.mark(image, live, first, end, instant);
    if (this.isUnderway) this.changes.push({ live, first, end, instant });
  }

  /** So are those of a transaction that was being written. */
  private outdate({ live, first, end, instant }: Transactions["changes"][number]): void {
    if (live.isLeaving) return;
    const slot = this.slots.get(live);
    const image = slot === undefined ? undefined : this.context.image(slot);
    this.mark(image, live, first, end, instant);
    if (image === undefined)
      live.homeIsDurable(); // a file that is closed was flushed
    else image.changeShape();
  }

  private mark(image: Image | undefined, live: LiveImage, first: number, end: number, instant: Instant): void {
    const { cache } = this.context;
    for (const block of end - first < live.records.size ? range(first, end) : Array.from(live.records.keys())) {
      if (block < first || block >= end) continue;
      if (image === undefined || cache.find(image.slot, asBlock(block)) === NONE) live.homeIsNewer(block);
      else live.mix(block, instant); // the frame is newer than all records (`WriteCache.zeroWithin`), but may be of some bytes only
    }
  }

  /** The image at home was made `size` long, and the journal is not told. True if its next device flush must be one of its shape. */
  cut(live: LiveImage, size: number): boolean {
    const shortest = this.shortest.get(live);
    if (shortest !== undefined && size < shortest) this.shortest.set(live, size);
    return live.cut(size);
  }

  /** The image may have become shorter than the `size` that it had when a commit began, and longer again. */
  private recut(live: LiveImage, size: number): void {
    const slot = this.slots.get(live);
    const image = slot === undefined ? undefined : this.context.image(slot);
    const shortest = this.shortest.get(live)!;
    if (image !== undefined && shortest < size && live.cut(shortest)) image.changeShape();
  }

  /** What voids records of `image` that home has outrun, as much of it as fits one transaction. Frames of the same see to theirs. */
  revokes(image: LiveImage): BatchOperation[] {
    const operations: BatchOperation[] = [];
    if (image.voidFrom < image.claimed)
      operations.push({ kind: "revoke", image, offset: image.voidFrom, length: Number.POSITIVE_INFINITY });
    const blocks = Float64Array.from(image.stale).sort();
    for (let i = 0; i < blocks.length && operations.length < OPERATIONS_MAX / IMAGES_MAX; ) {
      let count = 1;
      while (blocks[i + count] === blocks[i]! + count) count++;
      operations.push({ kind: "revoke", image, offset: blocks[i]! * BLOCK_BYTES, length: count * BLOCK_BYTES });
      i += count;
    }
    return operations;
  }
}

function* range(first: number, end: number): Generator<number> {
  for (let n = first; n < end; n++) yield n;
}
