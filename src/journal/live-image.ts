/**
 * What the journal holds of one image, and how home stands to it (`ledger.ts`).
 *
 * Invariant: a block whose live record is older than bytes at home that a flush is to promise is `stale` until a later commit
 * revokes or replaces the record; a power cut before that would bring the older bytes back.
 */
import type { Instant } from "../base/units.ts";
import type { Identity, OperationKind } from "./contract.ts";

/** Bytes that a block had: when they were written, and which commit has them (`commitMark`). */
export interface Version {
  readonly stamp: Instant;
  readonly mark: number;
}

/** A change of an image's shape that commit `sequence` has. */
export interface Action {
  readonly sequence: number;
  readonly kind: OperationKind;
  readonly offset: number;
  readonly length: number;
}

/** How a version of a block stands to that block's record of `sequence`. */
export type Compare = (version: Version, sequence: number) => "older" | "same" | "newer";

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
  /** It stands for a file that has an inode record. */
  isInUse = false;
  /** Commits that are yet to be made, or being written, are to name it. */
  awaited = 0;
  /** Changes of its shape in them that recovery would carry out. */
  changes = 0;
  /** Sequence of the last of them, if that says that home may have more than it tells (`exact`); else 0. */
  exactAt = 0;
  /**
   * The file has lost its last name. A power cut brings that back, and its records are for that case, until the removal is on stable
   * media: those up to this commit, that says so. Infinity: it is yet to be written; 0: the file has a name, or is removed for good.
   */
  private leftAt = 0;
  /** `exactAt` as it was when the file lost its name: recovery is to make of home what that commit says, until it is removed for good. */
  leftExactAt = 0;
  /** That is so. */
  isRemoved = false;
  /** Changes of shape that are committed, and of which it is not known yet whether home takes them: until then records are as before. */
  unfinished: Action[] = [];

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

  /** The same, on stable media or not. */
  get isShorter(): boolean {
    return Math.min(this.voidFrom, this.cutTo) < this.claimed;
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

  /** True if a change of its shape is committed, and not yet done. */
  hasUnfinished({ kind, offset, length }: Omit<Action, "sequence">): boolean {
    return this.unfinished.some((own) => own.kind === kind && own.offset === offset && own.length === length);
  }

  get isLeaving(): boolean {
    return this.leftAt > 0;
  }

  leave(sequence: number): void {
    this.leftAt = sequence;
    if (this.exactAt > 0) this.leftExactAt = this.exactAt;
    this.isRemoved = false;
  }

  /** No live commit names it. */
  forget(): void {
    this.claimed = 0;
    this.voidFrom = Number.POSITIVE_INFINITY;
    this.unfinished = [];
    this.leftExactAt = 0;
    if (this.leftAt !== Number.POSITIVE_INFINITY) this.leftAt = 0;
  }

  /** Its removal is on stable media: nobody needs its bytes. */
  removed(): void {
    this.settleAll(this.leftAt);
    this.isRemoved = true;
  }

  /** Blocks of which commits up to `sequence` have what home has not. */
  upTo(sequence: number): Set<number> {
    return new Set([...this.records].filter(([, own]) => own > 0 && own <= sequence).map(([block]) => block));
  }

  /** Home has on stable media what commits up to `sequence` have, or newer bytes, or nobody needs it. */
  settleAll(sequence: number): void {
    for (const [block, own] of this.records) if (Math.abs(own) <= sequence) this.settle(block);
  }

  /**
   * The bytes of `version` are on stable media at home: `block` was theirs, and if it `isNewest`, still is: then no record has newer
   * ones.
   */
  homed(block: number, version: Version, isNewest = false): void {
    this.late?.set(block, version);
    const sequence = this.records.get(block);
    if (sequence === undefined) return;
    const relation = this.compare(version, Math.abs(sequence));
    if (relation === "older" && !isNewest) return;
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
