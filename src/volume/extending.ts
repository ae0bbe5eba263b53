/**
 * Much new data at the end of an image, in `ordered`, goes home without being in the journal first: it would be written twice.
 *
 *   1. a commit says that the image is `exact`: after a power cut recovery cuts it to the size that the commit tells
 *   2. whole blocks beyond that end go home, while the window is open; nothing of them belongs to an instant yet
 *   3. the next commit has those that are not yet durable at home, and tells the new size: with it, all are of its instant
 *
 * Invariants. A block of which a commit speaks is on stable media at home, or in that commit or one before. What is beyond the end of
 * a commit that is being written goes on, what is before it waits for it. The last commit that says `exact` of an image stays in the
 * journal until one names the image without (`Ledger.oldest`). No change of shape of the image is live, since recovery carries
 * those out before all else. Blocks within holes are not for this: they would have to be made holes again.
 */
import { BLOCK_BYTES } from "../base/units.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import type { LiveImage } from "../journal/live-image.ts";
import type { DurabilityContext } from "./durability-context.ts";
import type { Room } from "./room.ts";

/** Blocks that make it worth while, as a share of the ring. */
const GROWN_SHARE = 1 / 64;
/** The same as a share of the dirty limit: fewer than what brings a commit about by itself. */
const GROWN_DIRTY_SHARE = 1 / 16;
/** Blocks of all extensions that may wait to be durable at home: what is left of them when the window ends is written twice. */
const WAITING_SHARE = 1 / 24;
/** The same as a share of the dirty limit. */
const WAITING_DIRTY_SHARE = 1 / 8;
/** Blocks of one that go home together, as a share of those that may wait. */
const TOGETHER_SHARE = 1 / 8;
/** Images at a time: each commit names them. */
const IMAGES_MAX = 16;

export class Extending {
  private readonly context: DurabilityContext;
  private readonly room: Room;

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

  /** Blocks of an extension that go home together. */
  get together(): number {
    return Math.max(1, Math.floor(this.waitingMost * TOGETHER_SHARE));
  }

  /** True while a write to `image` that ends at byte `end` must wait for blocks of the extension to be durable at home. */
  isHeld({ extension }: Image, end: number): boolean {
    if (!extension.isOpen || end <= extension.from * BLOCK_BYTES) return false;
    return extension.blocks >= Math.max(1, this.waitingMost / this.context.cache.commits.extended.size);
  }

  /** Some image has come to have so much beyond its end that a commit should open its extension. */
  get isWorthwhile(): boolean {
    const { grown } = this.context.cache.commits;
    for (const image of grown) {
      if (this.mayOpen(image)) return true;
      grown.delete(image); // until it has grown more
    }
    return false;
  }

  /** Those of `images` whose extension the commit that is about to begin opens, or keeps open. */
  choose(images: readonly Image[]): Set<Image> {
    const chosen = new Set<Image>();
    this.adapt();
    const { extended, grownFrom } = this.context.cache.commits;
    for (const image of images) {
      const { blocks, from } = image.extension;
      const growth = extended.has(image) ? image.blocksBefore - from : blocks;
      if (growth >= grownFrom && chosen.size < IMAGES_MAX && this.mayOpen(image)) chosen.add(image);
    }
    return chosen;
  }

  private mayOpen(image: Image): boolean {
    const { cache, writer, transactions } = this.context;
    if (!this.room.isWideFor(cache.commits.uncommitted)) return false;
    if (writer.draining || writer.pacer.rateLimit > 0 || image.gated || image.isHomeShut) return false;
    if (image.hasFlag(ImageFlag.failing | ImageFlag.cut | ImageFlag.allocation | ImageFlag.dropped)) return false;
    const live = transactions.live(image.slot);
    return !live.isLeaving && live.changes === 0 && live.unfinished.length === 0 && live.claimed <= image.size;
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
