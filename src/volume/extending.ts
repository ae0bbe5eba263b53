/**
 * Much new data at the end of an image, or in a hole of it, goes home in `ordered` without being in the journal first: it would be
 * written twice.
 *
 *   1. a commit says that the image is `exact`: after a power cut recovery cuts it to the size that the commit tells, and empties
 *      the hole that it names
 *   2. whole blocks beyond that end and in that hole go home, while the window is open; nothing of them belongs to an instant yet
 *   3. the next commit has those that are not yet durable at home, and tells the new size and what is left of the hole: with it, all
 *      are of its instant
 *
 * Invariants. A block of which a commit speaks is on stable media at home, or in that commit or one before; of a hole none does
 * (`holes.ts`). What neither the last commit on stable media nor the one that is being written speaks of goes on, all else waits. The
 * last commit that says `exact` of an image stays in the journal until one names the image without (`Ledger.oldest`). What earlier
 * ones do to its shape is on stable media at home, since recovery no longer does it.
 */
import { BLOCK_BYTES } from "../base/units.ts";
import { NO_BLOCKS, type Stretch } from "../cache/extension.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import type { LiveImage } from "../journal/live-image.ts";
import { NOTHING_DIRTY } from "../writeback/image-home.ts";
import type { DurabilityContext } from "./durability-context.ts";
import { holeAhead } from "./holes.ts";
import type { Room } from "./room.ts";

/** Blocks of an image that make a commit for its sake worth while, as a share of the ring. */
const GROWN_SHARE = 1 / 64;
/** The same as a share of the dirty limit: fewer than what brings a commit about by itself. */
const GROWN_DIRTY_SHARE = 1 / 16;
/** Of these, how many have come to another one that is copied in beside it: with one commit for each, none would ever go ahead. */
const BESIDE_SHARE = 1 / 4;
/** Blocks of all extensions that may wait to be durable at home: what is left of them when the window ends is written twice. */
const WAITING_SHARE = 1 / 24;
/** The same as a share of the dirty limit. */
const WAITING_DIRTY_SHARE = 1 / 8;
/** Blocks of one that go home together, as a share of those that may wait, and of those of one that may. */
const TOGETHER_SHARE = 1 / 8;
const TOGETHER_OF_ONE_SHARE = 1 / 2;
/** Images at a time: each commit names them. */
const IMAGES_MAX = 16;

export class Extending {
  private readonly context: DurabilityContext;
  private readonly room: Room;
  /** Images whose shape is on its way to stable media. */
  private readonly flushing = new Set<Image>();

  constructor(context: DurabilityContext, room: Room) {
    this.context = context;
    this.room = room;
    this.adapt();
  }

  /** The dirty limit may have been changed. */
  private adapt(): void {
    const { cache, journal } = this.context;
    const share = Math.min(journal.blocks * GROWN_SHARE, this.context.dirtyLimit() * GROWN_DIRTY_SHARE);
    cache.commits.grownFrom = Math.max(1, Math.ceil(share));
  }

  private get waitingMost(): number {
    return Math.min(this.context.journal.blocks * WAITING_SHARE, this.context.dirtyLimit() * WAITING_DIRTY_SHARE);
  }

  /** The same of one extension. */
  private get waitingMostOfOne(): number {
    return Math.max(1, this.waitingMost / Math.max(1, this.context.cache.commits.extended.size));
  }

  /** Blocks of an extension that go home together. */
  get together(): number {
    const most = Math.min(this.waitingMost * TOGETHER_SHARE, this.waitingMostOfOne * TOGETHER_OF_ONE_SHARE);
    return Math.max(1, Math.floor(most));
  }

  /** True while a write to bytes `offset` to `end` - 1 of `image` must wait for blocks of the extension to be durable at home. */
  isHeld({ extension }: Image, offset: number, end: number): boolean {
    if (!extension.isOpen) return false;
    const { from, hole } = extension;
    const isInHole = end > hole.first * BLOCK_BYTES && offset < hole.end * BLOCK_BYTES;
    if (end <= from * BLOCK_BYTES && !isInHole) return false;
    return extension.blocks >= this.waitingMostOfOne;
  }

  /** Some image has come to have so much beyond its end, or in a hole, that a commit should open its extension. */
  get isWorthwhile(): boolean {
    const { grown } = this.context.cache.commits;
    for (const image of grown) {
      const isPossible = this.isFree(image);
      if (isPossible && this.isShapeHome(image) && this.holeOf(image) !== undefined) return true;
      if (!isPossible || !this.isBringingShapeHome(image)) grown.delete(image); // until it has grown more
    }
    return false;
  }

  /** Those of `images` whose extension the commit that is about to begin opens, or keeps open, and the hole of each. */
  choose(images: readonly Image[]): Map<Image, Stretch> {
    const chosen = new Map<Image, Stretch>();
    this.adapt();
    for (const image of images) {
      if (chosen.size === IMAGES_MAX || !this.isFree(image) || !this.isShapeHome(image)) continue;
      const hole = this.holeOf(image);
      if (hole !== undefined) chosen.set(image, hole);
    }
    return chosen;
  }

  private isFree(image: Image): boolean {
    const { cache, writer, transactions } = this.context;
    if (!this.room.isWideFor(cache.commits.uncommitted)) return false;
    if (writer.draining || writer.pacer.rateLimit > 0 || image.gated || image.isHomeShut) return false;
    if (image.hasFlag(ImageFlag.failing | ImageFlag.cut | ImageFlag.allocation | ImageFlag.dropped)) return false;
    const live = transactions.live(image.slot);
    return !live.isLeaving && live.unfinished.length === 0 && live.claimed <= image.size;
  }

  /** Nothing is left of the journal's changes of its shape for recovery to do. */
  private isShapeHome(image: Image): boolean {
    return this.context.transactions.live(image.slot).changes === 0 || !image.shapeUnflushed;
  }

  /** The same, but soon: a flush sees to it. */
  private isBringingShapeHome(image: Image): boolean {
    const { flushing } = this;
    if (this.isShapeHome(image)) return false;
    if (flushing.has(image)) return true;
    flushing.add(image);
    this.context.writer.flush(image, NOTHING_DIRTY, false, (result) => {
      flushing.delete(image);
      if (result < 0) this.context.cache.commits.grown.delete(image);
    });
    return true;
  }

  /** The hole that `image` is filling, perhaps without any block; undefined: it neither fills one nor grows by so much that it is worth while. */
  private holeOf(image: Image): Stretch | undefined {
    const { cache, transactions } = this.context;
    const { extended, grownFrom } = cache.commits;
    const { blocks, from, filled } = image.extension;
    const least = Math.ceil(grownFrom * BESIDE_SHARE);
    const growth = extended.has(image) ? image.blocksBefore - from : blocks;
    const came = image.uncommittedMost + filled;
    const hole = came < least ? NO_BLOCKS : holeAhead(cache, image, transactions.live(image.slot), least);
    return growth >= least || hole !== NO_BLOCKS ? hole : undefined;
  }

  /** The tail must move, and the last word on the end of an image may be what keeps it. */
  get keepsTail(): boolean {
    return this.context.ledger.exact.size > 0 && this.room.isShort && this.named().length > 0;
  }

  /** Images that the next commit must name, since the last that did says `exact`. One that cannot be opened waits. */
  named(): LiveImage[] {
    const { ledger, transactions } = this.context;
    return [...ledger.exact].filter((live) => {
      if (live.isLeaving) return false; // its removal is what comes next
      const slot = transactions.slotOf(live);
      return slot !== undefined && typeof this.context.open(slot) !== "number";
    });
  }
}
