/**
 * What the journal holds of each image: which commit last wrote each block, and where home has come to be newer than that. Made
 * anew from a scan by each engine. A record is live from its commit until the journal's tail has passed it.
 */
import { assert } from "../base/assert.ts";
import { Fifo } from "../base/fifo.ts";
import { asInstant, BLOCK_BYTES, type Instant } from "../base/units.ts";
import { HOMED, UNDERWAY } from "../cache/frames.ts";
import { type Identity, isAction } from "./contract.ts";
import { type Compare, LiveImage, type Version } from "./live-image.ts";
import { cancelledIn, changeOf, keyOf } from "./plan.ts";
import type { Commit } from "./scan.ts";

/** Sequences as a frame remembers them: 32 bits, and never a value that means something else (`cache/frames.ts`). */
export const commitMark = (sequence: number): number => (sequence % (HOMED - 1)) + 1;

/** Before all instants, also that of what an earlier engine left. */
const NO_DATA = asInstant(-1);

/** A commit in the ledger. */
interface Entry {
  sequence: number;
  /** Ring block at which the next commit begins, and the checksum of this one's descriptor. */
  end: number;
  checksum: number;
  images: LiveImage[];
  /** The blocks of each of `images`. */
  blocks: Float64Array[];
  /** Those whose home files it changes the shape of: recovery does so again. */
  acting: readonly LiveImage[];
  /** There are such, and they were not flushed since. */
  acts: boolean;
  /** When its blocks were chosen. */
  instant: Instant;
  /** Of its transaction. */
  readonly isLast: boolean;
}

export class Ledger {
  private readonly images = new Map<string, LiveImage>();
  private readonly entries = new Fifo<Entry>();
  /** Those that change the shape of home files. */
  private shaping = 0;
  /** Images of which home may have more than the last commit that names them says: that one must stay. */
  readonly exact = new Set<LiveImage>();

  /** The image that bears `identity`: one object until `release`. */
  image(identity: Identity): LiveImage {
    const key = keyOf(identity);
    let image = this.images.get(key);
    if (image === undefined) {
      image = new LiveImage(identity, (version, sequence) => this.compare(version, sequence));
      this.images.set(key, image);
    }
    return image;
  }

  /** Lets go of `image` if no commit that is live or yet to come has it, nor a file in use: one for each file that ever was would be too many. */
  release(image: LiveImage): void {
    if (image.commits === 0 && !image.isInUse && image.awaited === 0) this.images.delete(keyOf(image.identity));
  }

  /**
   * A version that was committed is older than every record but its own. One that never was is newer than all records of
   * blocks that were chosen before it was written; later ones have what came after it.
   */
  private compare({ stamp, mark }: Version, sequence: number): ReturnType<Compare> {
    if (mark !== 0 && mark !== UNDERWAY && mark !== HOMED) return mark === commitMark(sequence) ? "same" : "older";
    const entry = this.entries.at(sequence - this.entries.at(0)!.sequence);
    return entry === undefined || stamp > entry.instant ? "newer" : "older";
  }

  /** Takes in what a scan found. `isBegun`: the change of shape that commit `sequence` has may not have taken place yet. */
  load(
    commits: readonly Commit[],
    blocksOfRing: number,
    isBegun: (image: LiveImage, sequence: number) => boolean,
  ): void {
    const cancelled = cancelledIn(commits);
    const instant = asInstant(0); // frames that an earlier engine left uncommitted are newer than all that it committed
    for (const { descriptor } of commits) {
      const images = descriptor.images.map(({ identity }) => this.image(identity));
      const blocks: number[][] = images.map(() => []);
      for (let i = 0; i < descriptor.records; i++) {
        const record = descriptor.record(i);
        blocks[record.image]!.push(record.block);
      }
      for (const { kind, image, offset, length } of descriptor.operations()) {
        if (kind === "revoke") this.revoke(images[image]!, offset, length);
        else if (kind === "gone") this.leave(images[image]!, descriptor.header.sequence);
      }
      const { sequence, position } = descriptor.header;
      const end = (position + descriptor.blocks + descriptor.records) % blocksOfRing;
      const acting = [...descriptor.operations()].flatMap(({ kind, image }) =>
        isAction(kind) ? [images[image]!] : [],
      );
      const sizes = descriptor.images.map(({ facts }) => facts.size);
      const exact = [...descriptor.operations()].flatMap(({ kind, image }) =>
        kind === "exact" ? [images[image]!] : [],
      );
      this.add(
        sequence,
        end,
        descriptor.checksum,
        images,
        blocks.map((list) => Float64Array.from(list)),
        sizes,
        acting,
        exact,
        instant,
        descriptor.header.isLast,
      );
      for (const { kind, image: index, offset, length } of descriptor.operations()) {
        const image = images[index]!;
        if (!isAction(kind) || cancelled.has(changeOf(sequence, image.identity))) continue;
        image.unfinished.push({ sequence, kind, offset, length });
        if (!isBegun(image, sequence)) this.finish(image);
      }
    }
  }

  /** A commit is on stable media. */
  add(
    sequence: number,
    end: number,
    checksum: number,
    images: LiveImage[],
    blocks: Float64Array[],
    sizes: readonly number[],
    acting: readonly LiveImage[],
    exact: readonly LiveImage[],
    instant: Instant,
    isLast: boolean,
  ): void {
    images.forEach((image, i) => {
      assert(this.image(image.identity) === image, "an image that a commit names was not let go of");
      image.commits++;
      image.claimed = Math.max(image.claimed, sizes[i]!);
      this.nameExactly(image, exact.includes(image) ? sequence : 0);
      if (image.exactAt > 0) this.settleShape(image);
      for (const block of blocks[i]!) {
        image.records.set(block, sequence);
        image.catchUp(block, instant);
      }
    });
    for (const image of acting) image.changes++;
    const acts = acting.length > 0;
    this.entries.push({ sequence, end, checksum, images, blocks, acting, acts, instant, isLast });
    if (acts) this.shaping++;
    images.forEach((image, i) => {
      for (const block of blocks[i]!) image.catchUpLate(block);
    });
  }

  private nameExactly(image: LiveImage, sequence: number): void {
    image.exactAt = sequence;
    if (sequence === 0) this.exact.delete(image);
    else this.exact.add(image);
  }

  /** Recovery no longer carries out what live commits do to the shape of `image`. */
  private settleShape(image: LiveImage): void {
    if (image.changes === 0) return;
    for (const entry of this.entries) {
      if (!entry.acting.includes(image)) continue;
      entry.acting = entry.acting.filter((other) => other !== image);
      if (entry.acting.length > 0) continue;
      entry.acts = false;
      this.shaping--;
    }
    image.changes = 0;
  }

  /** A commit that voids earlier records in the range is on stable media. */
  revoke(image: LiveImage, offset: number, length: number): void {
    const first = Math.ceil(offset / BLOCK_BYTES);
    if (length === Number.POSITIVE_INFINITY) {
      for (const block of Array.from(image.records.keys())) if (block >= first) this.void(image, block);
      image.claimed = Math.min(image.claimed, offset);
      image.cutIsKnown(offset);
      return;
    }
    for (let block = first; (block + 1) * BLOCK_BYTES <= offset + length; block++) this.void(image, block);
  }

  /**
   * The file has lost its last name, which no commit says yet. The one that is to say so may wait for room in the journal: what the tail
   * must not pass for this image until then is what is pending of it, no longer its last word.
   */
  leaving(image: LiveImage): void {
    image.leave(Number.POSITIVE_INFINITY);
    this.nameExactly(image, 0);
  }

  /** Commit `sequence` says that the image is about to be removed. Where files have no time of birth, the next one may be taken for it. */
  leave(image: LiveImage, sequence: number): void {
    if (image.identity.birth === 0) this.revoke(image, 0, Number.POSITIVE_INFINITY);
    image.leave(image.identity.birth === 0 ? 0 : sequence);
    this.nameExactly(image, 0);
  }

  /**
   * The changes of the image's shape that are committed have taken place at home: what earlier commits have of their ranges is void.
   * Not before, since one may fail: 1. block 7 is committed  2. a truncate is committed, and fails at home  3. it is cancelled, and
   * what is replayed of block 7 is its first commit, which the tail must not have passed.
   */
  finish(image: LiveImage): void {
    for (const { kind, offset, length } of image.unfinished.splice(0)) {
      this.revoke(image, offset, kind === "truncate" ? Number.POSITIVE_INFINITY : length);
      if (kind === "truncate") image.claimed = offset;
    }
  }

  /** A commit says that what commit `sequence` does to the image's shape did not take place. */
  cancel(image: LiveImage, sequence: number): void {
    image.unfinished = image.unfinished.filter((action) => action.sequence !== sequence);
  }

  private void(image: LiveImage, block: number): void {
    image.records.delete(block);
    image.catchUp(block, Number.POSITIVE_INFINITY);
  }

  /** Live commits. */
  get commits(): number {
    return this.entries.length;
  }

  get isEmpty(): boolean {
    return this.entries.length === 0;
  }

  /** A live commit changes the shape of a home file: what comes to that file after it must be in the journal too. */
  get hasActions(): boolean {
    return this.shaping > 0;
  }

  /** Images that live commits name. */
  *liveImages(): Generator<LiveImage> {
    for (const image of this.images.values()) if (image.commits > 0) yield image;
  }

  /**
   * The oldest transactions, as many as it takes until `enough`, given the ring block where each ends: a tail within one would
   * lead a scan to what is none. None that an image whose home may be longer needs. The sequence of the last commit; 0: none.
   */
  oldest(enough: (end: number) => boolean): number {
    let least = Number.POSITIVE_INFINITY;
    for (const { exactAt } of this.exact) least = Math.min(least, exactAt);
    let found = 0;
    for (const { sequence, end, isLast } of this.entries) {
      if (sequence >= least) break;
      if (!isLast) continue;
      found = sequence;
      if (enough(end)) break;
    }
    return found;
  }

  /**
   * Images of which commits up to `sequence` hold what home has not yet on stable media, and when the last of those that have blocks of
   * it was made; NO_DATA: it is but a change of shape, or the end and the hole of an image that is being removed.
   */
  pending(sequence: number): Map<LiveImage, Instant> {
    const found = new Map<LiveImage, Instant>();
    for (const entry of this.entries) {
      if (entry.sequence > sequence) break;
      entry.images.forEach((image, i) => {
        if (found.get(image) === entry.instant) return;
        const isNeeded = (block: number): boolean => image.records.get(block) === entry.sequence;
        if (entry.blocks[i]!.some(isNeeded)) found.set(image, entry.instant);
        else if (found.has(image)) return;
        else if (entry.acts && entry.acting.includes(image)) found.set(image, NO_DATA);
        else if (image.leftExactAt === entry.sequence && image.isLeaving && !image.isRemoved) found.set(image, NO_DATA);
      });
    }
    return found;
  }

  /** Home files that commits up to `sequence` change were flushed since. */
  acted(sequence: number): void {
    for (const entry of this.entries) if (entry.sequence <= sequence) entry.acts = false;
  }

  /** Where the tail is once commits up to `sequence` are gone; undefined if none of them is there. */
  tailBehind(sequence: number): { position: number; sequence: number; previous: number } | undefined {
    const first = this.entries.at(0)?.sequence ?? 0;
    const last = first <= sequence ? this.entries.at(Math.min(sequence - first, this.entries.length - 1)) : undefined;
    if (last === undefined) return undefined;
    return { position: last.end, sequence: last.sequence + 1, previous: last.checksum };
  }

  /** The journal is void: nobody will look into it. */
  clear(): void {
    this.drop(Number.POSITIVE_INFINITY);
  }

  /** The tail has passed the commits up to `sequence`. */
  drop(sequence: number): void {
    while (this.entries.length > 0 && this.entries.at(0)!.sequence <= sequence) {
      const entry = this.entries.shift()!;
      if (entry.acting.length > 0) this.shaping--;
      for (const image of entry.acting) image.changes--;
      entry.images.forEach((image, i) => {
        for (const block of entry.blocks[i]!)
          if (Math.abs(image.records.get(block) ?? 0) === entry.sequence) this.void(image, block);
        if (--image.commits > 0) return;
        assert(image.records.size === 0, "an image that no live commit names has no live record");
        this.nameExactly(image, 0);
        image.forget();
        this.release(image);
      });
    }
  }
}
