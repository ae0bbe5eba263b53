/**
 * What the journal holds of each image: which commit last wrote each block, and where home has come to be newer than that. Made
 * anew from a scan by each engine. A record is live from its commit until the journal's tail has passed it.
 *
 * Invariant: a block whose live record is older than bytes at home that a flush is to promise is `stale` until a later commit
 * revokes or replaces the record; a power cut before that would bring the older bytes back.
 */
import { assert } from "../base/assert.ts";
import { Fifo } from "../base/fifo.ts";
import { asInstant, BLOCK_BYTES, type Instant } from "../base/units.ts";
import { HOMED, UNDERWAY } from "../cache/frames.ts";
import { type Identity, isAction, type OperationKind } from "./contract.ts";
import type { Commit } from "./scan.ts";

/** Sequences as a frame remembers them: 32 bits, and never a value that means something else (`cache/frames.ts`). */
export const commitMark = (sequence: number): number => (sequence % (HOMED - 1)) + 1;

/** Bytes that a block had: when they were written, and which commit has them (`commitMark`). */
export interface Version {
  readonly stamp: Instant;
  readonly mark: number;
}

/** How a version of a block stands to that block's record of `sequence`. */
type Compare = (version: Version, sequence: number) => "older" | "same" | "newer";

/** An image as the journal knows it: one object for as long as the ledger lives. */
export class LiveImage {
  readonly identity: Identity;
  /** Sequence of the newest live record of each block; negative once home has its bytes, or newer ones, on stable media. */
  readonly records = new Map<number, number>();
  /** Blocks of `records` whose bytes on stable media at home are newer. */
  readonly stale = new Set<number>();
  /** What became durable at home while a transaction with blocks of this image was being written: the newest version of each block. */
  private late: Map<number, Version> | undefined;
  /** The same, but home's bytes are not yet on stable media: its next device flush makes them so. */
  private unsettled = new Set<number>();
  /** Blocks with a frame that is newer than the record, of which home may have the rest newer too, and since when that is so. */
  private readonly mixed = new Map<number, Instant>();
  /**
   * Blocks with a newer frame, of which home was given older bytes than that frame's and perhaps newer ones than the record's:
   * what those bytes were. A device flush that begins later makes them durable; one that is under
   * way makes those durable that it covers.
   */
  private written = new Map<number, Version>();
  private covered = new Map<number, Version>();
  /** Records may speak of a size that the image no longer has: on stable media at home it has become this long, at the least. */
  voidFrom = Number.POSITIVE_INFINITY;
  /** The same, but not yet on stable media. */
  private cutTo = Number.POSITIVE_INFINITY;
  /** Largest size that live commits speak of; it only grows, until none is live. */
  claimed = 0;
  /** Live commits that name the image. */
  commits = 0;

  private readonly compare: Compare;

  constructor(identity: Identity, compare: Compare) {
    this.identity = identity;
    this.compare = compare;
  }

  /** True if a new record of `block` is to say that earlier ones are void. */
  isOutdated(block: number): boolean {
    return this.stale.has(block) || this.mixed.has(block);
  }

  /** Home may have newer bytes of a block than its record, around a frame that is newer still: a commit of that frame voids the record. */
  get isMixed(): boolean {
    return this.mixed.size > 0;
  }

  /** True if records speak of a size that home no longer has on stable media: to be voided before a commit speaks of a new one. */
  get isCut(): boolean {
    return this.voidFrom < this.claimed;
  }

  /** True if a flush of what is at home must void records first. */
  get needsRevoking(): boolean {
    return this.stale.size > 0 || this.isCut;
  }

  /** Home has newer bytes of `block`, which its next device flush will make durable, and no frame has. */
  homeIsNewer(block: number): void {
    if (this.records.has(block)) this.unsettled.add(block);
  }

  /** A device flush of the home file has succeeded, and nothing changed its shape meanwhile. */
  homeIsDurable(): void {
    for (const block of this.unsettled) {
      this.stale.add(block);
      this.settle(block);
    }
    this.unsettled = new Set();
    this.voidFrom = Math.min(this.voidFrom, this.cutTo);
    this.cutTo = Number.POSITIVE_INFINITY;
  }

  /** Home was given bytes of `block` that a newer frame has replaced; `isCovered` by the device flush that is under way. */
  outrun(block: number, version: Version, isCovered: boolean): void {
    if (this.records.has(block) || this.late !== undefined)
      (isCovered ? this.covered : this.written).set(block, version);
  }

  /** A device flush begins. */
  flushBegins(): void {
    this.covered = this.written;
    this.written = new Map();
  }

  /** It ended. If it failed, nobody knows what home has of these blocks; the newer frames are still to go there. */
  flushEnds(succeeded: boolean): void {
    const { covered } = this;
    this.covered = new Map();
    if (succeeded) for (const [block, version] of covered) this.homed(block, version);
  }

  /** A frame has some bytes of `block`, and home may have newer ones than the record of the rest. */
  mix(block: number, instant: Instant): void {
    if (this.records.has(block)) this.mixed.set(block, instant);
  }

  /** The journal has newer bytes of `block` than home had at `instant`, or nothing any more. */
  catchUp(block: number, instant: number): void {
    if (this.mixed.get(block)! <= instant) this.mixed.delete(block);
    this.stale.delete(block);
    this.unsettled.delete(block);
    for (const versions of [this.written, this.covered])
      if (versions.get(block) !== undefined && versions.get(block)!.stamp <= instant) versions.delete(block);
  }

  /** A transaction with blocks of this image is being written, and may be replayed. */
  get isUnderway(): boolean {
    return this.late !== undefined;
  }

  /** A transaction with blocks of this image begins. */
  commitBegins(): void {
    this.late = new Map();
  }

  /** It has ended. */
  commitEnds(): void {
    this.late = undefined;
  }

  /** It has a record of `block` on stable media, and home may have newer bytes there by now. */
  catchUpLate(block: number): void {
    const version = this.late?.get(block);
    if (version !== undefined) this.homed(block, version);
  }

  /** The file goes, and nobody needs its bytes. */
  leave(): void {
    for (const block of this.records.keys()) this.settle(block);
  }

  /** The bytes of `version` are on stable media at home: `block` was theirs. */
  homed(block: number, version: Version): void {
    this.late?.set(block, version);
    const sequence = this.records.get(block);
    if (sequence === undefined) return;
    const relation = this.compare(version, Math.abs(sequence));
    if (relation === "older") return;
    if (relation === "newer") this.stale.add(block);
    this.settle(block);
  }

  /** Home has the bytes of the record of `block` on stable media, or newer ones. */
  settle(block: number): void {
    this.records.set(block, -Math.abs(this.records.get(block)!));
  }

  /** Nothing says any more that it is longer than `size`: commits to come may, and be right. */
  cutIsKnown(size: number): void {
    if (this.voidFrom >= size) this.voidFrom = Number.POSITIVE_INFINITY;
    if (this.cutTo >= size) this.cutTo = Number.POSITIVE_INFINITY;
  }

  /** The image became `size` long at home. True if records speak of more, and its next device flush must be one of its shape. */
  cut(size: number): boolean {
    if (size >= this.claimed) return false;
    this.cutTo = Math.min(this.cutTo, size);
    return true;
  }
}

/** A commit in the ledger. */
interface Entry {
  sequence: number;
  /** Ring block at which the next commit begins, and the checksum of this one's descriptor. */
  end: number;
  checksum: number;
  images: LiveImage[];
  /** The blocks of each of `images`. */
  blocks: Float64Array[];
  /** It changes the shape of home files. */
  readonly shapes: boolean;
  /** The same, and they were not flushed since. */
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

  /** The image that bears `identity`. */
  image(identity: Identity): LiveImage {
    const key = `${identity.inode}@${identity.birth}`;
    let image = this.images.get(key);
    if (image === undefined) {
      image = new LiveImage(identity, (version, sequence) => this.compare(version, sequence));
      this.images.set(key, image);
    }
    return image;
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

  /** Takes in what a scan found. */
  load(commits: readonly Commit[], blocksOfRing: number): void {
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
        else if (kind === "gone") this.revoke(images[image]!, 0, Number.POSITIVE_INFINITY);
      }
      const { sequence, position } = descriptor.header;
      const end = (position + descriptor.blocks + descriptor.records) % blocksOfRing;
      const acts = [...descriptor.operations()].some(({ kind }) => isAction(kind));
      const sizes = descriptor.images.map(({ facts }) => facts.size);
      this.add(
        sequence,
        end,
        descriptor.checksum,
        images,
        blocks.map((list) => Float64Array.from(list)),
        sizes,
        acts,
        instant,
        descriptor.header.isLast,
      );
      for (const { kind, image, offset, length } of descriptor.operations()) {
        if (isAction(kind)) this.act(images[image]!, kind, offset, length);
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
    acts: boolean,
    instant: Instant,
    isLast: boolean,
  ): void {
    images.forEach((image, i) => {
      image.commits++;
      image.claimed = Math.max(image.claimed, sizes[i]!);
      for (const block of blocks[i]!) {
        image.records.set(block, sequence);
        image.catchUp(block, instant);
      }
    });
    this.entries.push({ sequence, end, checksum, images, blocks, shapes: acts, acts, instant, isLast });
    if (acts) this.shaping++;
    images.forEach((image, i) => {
      for (const block of blocks[i]!) image.catchUpLate(block);
    });
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

  /** A commit that changes the image's shape is on stable media: what it had of the range before is void. */
  act(image: LiveImage, kind: OperationKind, offset: number, length: number): void {
    this.revoke(image, offset, kind === "truncate" ? Number.POSITIVE_INFINITY : length);
    if (kind === "truncate") image.claimed = offset;
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
   * lead a scan to what is none. The sequence of the last commit; 0: none.
   */
  oldest(enough: (end: number) => boolean): number {
    for (const { sequence, end, isLast } of this.entries) if (isLast && enough(end)) return sequence;
    return this.entries.last?.sequence ?? 0;
  }

  /** Images of which commits up to `sequence` hold what home has not yet on stable media, and when the last of those was made. */
  pending(sequence: number): Map<LiveImage, Instant> {
    const found = new Map<LiveImage, Instant>();
    for (const entry of this.entries) {
      if (entry.sequence > sequence) break;
      entry.images.forEach((image, i) => {
        if (found.get(image) === entry.instant) return;
        const isNeeded = (block: number): boolean => image.records.get(block) === entry.sequence;
        if (entry.acts || entry.blocks[i]!.some(isNeeded)) found.set(image, entry.instant);
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
      if (entry.shapes) this.shaping--;
      entry.images.forEach((image, i) => {
        for (const block of entry.blocks[i]!)
          if (Math.abs(image.records.get(block) ?? 0) === entry.sequence) this.void(image, block);
        if (--image.commits === 0) this.forget(image);
      });
    }
  }

  private forget(image: LiveImage): void {
    assert(image.records.size === 0, "an image that no live commit names has no live record");
    image.claimed = 0;
    image.voidFrom = Number.POSITIVE_INFINITY;
  }
}
