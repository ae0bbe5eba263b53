/**
 * Corruption of the journal while the power was gone, and what is asked of recovery then: it refuses, or keeps every promise. Only
 * the last transaction may be lost in silence, since damage to it looks like one that was never ended.
 */
import { ExitCode, Failure } from "../../src/base/errors.ts";
import { BLOCK_BYTES, type InodeSlot } from "../../src/base/units.ts";
import { RING_AT, ringOffset, SUPERBLOCK_BYTES } from "../../src/journal/layout.ts";
import { type Commit, scan } from "../../src/journal/scan.ts";
import { decodeSuperblock, readSuperblocks } from "../../src/journal/superblock.ts";
import { type Recovered, readerOf, type SimJournal } from "./journal.ts";
import type { ImageOracle, Vow } from "./oracle.ts";
import type { PagedBytes } from "./paged.ts";
import type { Random } from "./random.ts";
import type { SimImage } from "./requests.ts";
import { must, type World } from "./world.ts";

export const DAMAGES = ["superblock", "rot", "lost", "misdirected"] as const;
export type Damage = (typeof DAMAGES)[number];

/** What was promised of each image when a transaction began. */
interface Promised {
  images: Map<InodeSlot, { oracle: ImageOracle; vow: Vow }>;
  /** The ring as it was on the device. */
  before: PagedBytes;
}

/** How many transactions may yet turn out to be the last: one that is being written, and the one before. */
const KEPT = 3;

export class Corruption {
  private readonly world: World;
  private readonly kind: Damage;
  private readonly journal: SimJournal;
  private readonly promised = new Map<number, Promised>();

  constructor(world: World, kind: Damage, journal: SimJournal) {
    this.world = world;
    this.kind = kind;
    this.journal = journal;
  }

  /** A transaction begins whose first commit has `sequence`. */
  begins(sequence: number, images: readonly SimImage[]): void {
    this.forget(sequence);
    const kept = new Map(images.map(({ slot, oracle, vow }) => [slot, { oracle, vow: vow.copy(oracle) }]));
    this.promised.set(sequence, { images: kept, before: this.journal.file.durable.copy() });
    const [oldest] = this.promised.keys();
    if (this.promised.size > KEPT) this.forget(oldest!);
  }

  private forget(sequence: number): void {
    for (const { oracle, vow } of this.promised.get(sequence)?.images.values() ?? []) oracle.forget(vow.view);
    this.promised.delete(sequence);
  }

  /**
   * Damages `ring`, what a power cut has left of the journal, and recovers `files`, unless there is nothing to damage. True if every
   * promise must hold; else what must was checked.
   */
  strike(ring: PagedBytes, files: ReadonlyMap<InodeSlot, Recovered>): boolean {
    if (this.journal.isVoid) return true;
    if (this.kind === "superblock") return !this.strikeSuperblock(ring) || this.recovers(files, ring, undefined);
    const reader = readerOf(ring);
    const { commits } = scan(reader, readSuperblocks(reader).superblock!);
    const chosen = commits[this.world.random.below(commits.length)];
    if (chosen === undefined || !this.strikeCommit(ring, chosen, commits)) return true;
    const { first, sequence } = chosen.descriptor.header;
    this.world.note(() => `${this.kind}: commit ${sequence}, one of ${commits.length} live ones, is damaged`);
    if (!this.recovers(files, ring, first)) return false;
    if (first !== commits.at(-1)!.descriptor.header.first) return true;
    this.checkBefore(first, files);
    return false;
  }

  private strikeSuperblock(ring: PagedBytes): boolean {
    const { random } = this.world;
    const states = [0, 1].map((slot) => {
      const bytes = Buffer.from(ring.slice(slot * SUPERBLOCK_BYTES, (slot + 1) * SUPERBLOCK_BYTES));
      return decodeSuperblock(bytes, ring.length).state;
    });
    if (states.some((state) => state !== "good")) return false;
    const at = random.below(2) * SUPERBLOCK_BYTES;
    if (random.chance(0.5)) ring.zero(at, at + SUPERBLOCK_BYTES);
    else flip(ring, at + random.below(SUPERBLOCK_BYTES), random);
    return true;
  }

  private strikeCommit(ring: PagedBytes, { descriptor }: Commit, commits: readonly Commit[]): boolean {
    const { header, blocks, records } = descriptor;
    const low = ringOffset(header.position);
    const high = ringOffset(header.position + blocks + records);
    if (this.kind === "rot") {
      flip(ring, low + this.world.random.below(high - low), this.world.random);
      return true;
    }
    const { before } = this.promised.get(header.first) ?? {};
    const bytes = ring.slice(low, high);
    if (before === undefined || Buffer.compare(before.slice(low, high), bytes) === 0) return false;
    if (this.kind === "misdirected") {
      const at = this.elsewhere(ring, (high - low) / BLOCK_BYTES, commits);
      if (at < 0) return false;
      ring.set(bytes, ringOffset(at));
    }
    ring.set(before.slice(low, high), low);
    return true;
  }

  /** A place of `count` ring blocks that no live commit has; -1: none was found. */
  private elsewhere(ring: PagedBytes, count: number, commits: readonly Commit[]): number {
    const at = this.world.random.below((ring.length - RING_AT) / BLOCK_BYTES - count);
    const isTaken = commits.some(
      ({ descriptor: { header, blocks, records } }) =>
        at < header.position + blocks + records && header.position < at + count,
    );
    return isTaken ? -1 : at;
  }

  /** Recovers `files`. False if that is refused, and then does it with force. `first`: of the transaction that was hit. */
  private recovers(files: ReadonlyMap<InodeSlot, Recovered>, ring: PagedBytes, first: number | undefined): boolean {
    try {
      this.journal.recover(files, ring);
      return true;
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      this.world.note(() => `recovery refuses: ${error.message}`);
      must(first !== undefined, () => `one superblock is gone, and recovery refuses: ${error.message}`);
      must(error.exitCode === ExitCode.refused, () => `recovery fails: ${error.message}`);
      this.journal.recover(files, ring, () => undefined, true);
      this.journal.recover(files, ring);
      return false;
    }
  }

  /** The last transaction is lost: what was promised before it is not. */
  private checkBefore(first: number, files: ReadonlyMap<InodeSlot, Recovered>): void {
    for (const [slot, { vow }] of this.promised.get(first)?.images ?? []) {
      const file = files.get(slot);
      if (file !== undefined)
        vow.check(
          file.bytes,
          file.size,
          () => `the last transaction is ${this.kind}; image ${slot}, as promised before it`,
        );
    }
  }
}

function flip(ring: PagedBytes, at: number, random: Random): void {
  ring.set(Uint8Array.of(ring.byte(at) ^ (1 << random.below(8))), at);
}
