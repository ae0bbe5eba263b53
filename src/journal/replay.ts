/**
 * Recovery: brings home what a journal holds, and empties it. Nothing is written before everything was judged: a gap, a missing
 * image, or one that somebody else has changed since, refuse it all, unless the user forces it. May be cut short at any step
 * and begun again: the journal stays as it is until all that it holds is on stable media at home.
 */
import { dateText } from "../base/clock.ts";
import { errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { BLOCK_BYTES, SECTOR_BYTES } from "../base/units.ts";
import type { Identity, JournalReader } from "./contract.ts";
import { SUPERBLOCK_BYTES } from "./layout.ts";
import { type Piece, type PlannedImage, planOf } from "./plan.ts";
import { type Scan, scan } from "./scan.ts";
import { encodeSuperblock, type Superblock } from "./superblock.ts";

/** The journal file, offline. Numbers below 0 are negated error numbers. */
export interface JournalFile extends JournalReader {
  write(offset: number, bytes: Uint8Array): number;
  flush(): number;
}

/** A home file that is open for recovery. */
export interface ReplayFile {
  readonly size: number;
  readonly modifiedMs: number;
  /** Writes all of `bytes`. */
  write(offset: number, bytes: Uint8Array): number;
  truncate(size: number): number;
  zero(offset: number, length: number): number;
  /** The same, but room that the file has there it keeps. */
  wipe(offset: number, length: number): number;
  setModificationTime(seconds: number, nanoseconds: number): number;
  flush(): number;
  close(): void;
}

/** The backing directory, for recovery. */
export interface ReplayTarget {
  /** Opens the file of `identity`, wherever it lies; `missing`, or a negated error number. `removed`: only held back from its end. */
  open(identity: Identity, path: string): ReplayFile | "missing" | "removed" | number;
  /** Civil time, ms. */
  nowMs(): number;
}

export interface ReplayOptions {
  /** For messages. */
  readonly backing: string;
  readonly journal: string;
  readonly force: boolean;
  /** Told now and then how much is done, 0 to 1. */
  readonly progress: (share: number) => void;
}

export interface Replayed {
  commits: number;
  images: number;
  blocks: number;
  /** What people should know, each a line. */
  notices: string[];
}

const RUN_BLOCKS = 256;
/** Recovery writes home files: until so long after the last superblock it is we who did. */
const LEASE_MS = 60_000;
/** An engine may have written them until so long after its last commit (`journal.ts`). */
const ALIVE_MS = 5000;

/** Replays `journal`, whose superblock is `superblock`, into `target`, and empties it. Throws a Failure and leaves all as it was. */
export function replay(
  journal: JournalFile,
  superblock: Superblock,
  target: ReplayTarget,
  options: ReplayOptions,
): Replayed {
  return new Replay(journal, superblock, target, options).run();
}

class Replay {
  private readonly journal: JournalFile;
  private readonly superblock: Superblock;
  private readonly target: ReplayTarget;
  private readonly options: ReplayOptions;
  private readonly notices: string[] = [];
  private readonly buffer = Buffer.alloc(RUN_BLOCKS * BLOCK_BYTES);
  private blocks = 0;
  private blocksInAll = 0;
  private leaseMs = 0;
  /** We may have written home files until then. */
  private aliveMs: number;

  constructor(journal: JournalFile, superblock: Superblock, target: ReplayTarget, options: ReplayOptions) {
    this.journal = journal;
    this.superblock = superblock;
    this.target = target;
    this.options = options;
    this.aliveMs = superblock.leaseMs;
  }

  run(): Replayed {
    const { superblock, options } = this;
    const ring = superblock.blocks * BLOCK_BYTES;
    let looked = 0;
    const found = scan(this.journal, superblock, undefined, (bytes) => {
      looked += bytes;
      options.progress(Math.min(looked / ring, 1) / 2);
    });
    this.judge(found);
    for (const { descriptor } of found.commits)
      this.aliveMs = Math.max(this.aliveMs, descriptor.header.civilMs + ALIVE_MS);
    const open = this.openAll([...planOf(found.commits).values()]);
    try {
      for (const [image] of open) this.blocksInAll += image.blocks.size;
      for (const [image, file] of open) this.bringHome(image, file);
    } finally {
      for (const file of open.values()) file.close();
    }
    this.empty(found);
    return { commits: found.commits.length, images: open.size, blocks: this.blocks, notices: this.notices };
  }

  private judge({ verdict, lost, sequence }: Scan): void {
    const { journal, force } = this.options;
    if (verdict === "end" || verdict === "torn") return;
    const names = lost.size === 0 ? "" : `, of ${[...lost].join(", ")}`;
    const what = verdict === "rot" ? `is damaged at commit ${sequence}` : `cannot be read at commit ${sequence}`;
    const loss = `writes that were flushed after it are lost${names}`;
    if (!force) {
      const todo = "try a copy of the device, or accept the loss with --force";
      throw new Failure(`${journal}: ${what}, and ${loss}; nothing was written; ${todo}`, ExitCode.refused);
    }
    this.notices.push(`${journal} ${what}: ${loss} (--force)`);
  }

  /** Opens every image that has something to get, and refuses for all of them together. */
  private openAll(images: PlannedImage[]): Map<PlannedImage, ReplayFile> {
    const open = new Map<PlannedImage, ReplayFile>();
    const problems: string[] = [];
    for (const image of images) {
      if (image.isGone && asksForNothing(image)) continue;
      const { path } = image.facts;
      const file = this.target.open(image.identity, path);
      if (file === "removed" || (file === "missing" && image.isGone)) continue;
      if (file === "missing" && image.isFresh)
        this.notices.push(`${path} was made just before the host went down, and its filesystem does not have it`);
      else if (file === "missing") problems.push(`${path} (gone)`);
      else if (typeof file === "number") problems.push(`${path} (${errnoName(file)})`);
      else {
        open.set(image, file);
        if (this.isChanged(image, file))
          problems.push(`${path} (modified ${dateText(file.modifiedMs)}, after the host went down)`);
      }
    }
    if (problems.length > 0) this.decide(problems, open);
    return open;
  }

  /**
   * ext4 cuts a file back to its size when it comes up, and sets its mtime to that moment, if the power went while we cut it: then it
   * `isReshaped`. Home files are made longer in a way that leaves it nothing to do (`writeback/growth.ts`).
   */
  private isChanged({ facts, isReshaped }: PlannedImage, { modifiedMs }: ReplayFile): boolean {
    if (modifiedMs <= this.aliveMs || isReshaped) return false;
    return Math.abs(modifiedMs - facts.mtimeSeconds * 1000 - facts.mtimeNanoseconds / 1e6) >= 1; // else set by its user
  }

  private decide(problems: string[], open: Map<PlannedImage, ReplayFile>): void {
    const { backing, force } = this.options;
    const what = `${backing}: images with unsaved data in the journal were changed beneath it: ${problems.join(", ")}`;
    if (force) {
      this.notices.push(`${what}; the journal goes over them, what is gone is dropped (--force)`);
      return;
    }
    for (const file of open.values()) file.close();
    const todo =
      "nothing was written; put them back as they were, or write the unsaved data over what is there now with --force";
    throw new Failure(`${what}; ${todo} (of images that are gone it is dropped)`, ExitCode.refused);
  }

  private bringHome(image: PlannedImage, file: ReplayFile): void {
    const { facts } = image;
    this.keepLease();
    for (const { kind, offset, length } of image.actions) {
      if (kind === "truncate") this.must(file.truncate(offset), "truncate", image);
      else this.must(file.zero(offset, length), "punch", image);
    }
    const { exact } = image;
    const size = exact !== undefined ? image.size : Math.max(file.size, image.size);
    if (file.size !== size) this.must(file.truncate(size), "truncate", image);
    if (exact !== undefined && exact.length > 0) this.must(file.wipe(exact.offset, exact.length), "wipe", image);
    this.writeBlocks(image, file, size);
    if (facts.mtimeSeconds > 0) file.setModificationTime(facts.mtimeSeconds, facts.mtimeNanoseconds);
    this.must(file.flush(), "flush", image);
  }

  /** Writes the blocks in their order, whole neighbours together. */
  private writeBlocks(image: PlannedImage, file: ReplayFile, size: number): void {
    const order = Float64Array.from(image.blocks.keys()).sort();
    for (let i = 0; i < order.length; ) {
      const first = order[i]!;
      let count = 0;
      while (count < RUN_BLOCKS && order[i + count] === first + count && this.fill(image, first + count, count))
        count++;
      if (count > 0) {
        const bytes = Math.min(count * BLOCK_BYTES, size - first * BLOCK_BYTES);
        if (bytes > 0) this.must(file.write(first * BLOCK_BYTES, this.buffer.subarray(0, bytes)), "write", image);
      } else {
        for (const piece of image.blocks.get(first)!) this.writePiece(image, file, first, piece, size);
        count = 1;
      }
      i += count;
      this.told(count);
    }
  }

  /** Reads a block that one piece holds whole into place `index` of the run; false if it is made of pieces. */
  private fill(image: PlannedImage, block: number, index: number): boolean {
    const pieces = image.blocks.get(block)!;
    const [piece] = pieces;
    if (pieces.length !== 1 || piece!.at < 0 || piece!.sectors !== 0 || piece!.high - piece!.low !== BLOCK_BYTES)
      return false;
    this.read(piece!.at, this.buffer.subarray(index * BLOCK_BYTES, (index + 1) * BLOCK_BYTES));
    return true;
  }

  private writePiece(image: PlannedImage, file: ReplayFile, block: number, piece: Piece, size: number): void {
    const bytes = Buffer.alloc(BLOCK_BYTES);
    if (piece.at >= 0) this.read(piece.at, bytes);
    const base = block * BLOCK_BYTES;
    for (const [low, high] of stretches(piece)) {
      const end = Math.min(high, size - base);
      if (end > low) this.must(file.write(base + low, bytes.subarray(low, end)), "write", image);
    }
  }

  private read(at: number, into: Buffer): void {
    const got = this.journal.read(at, into);
    if (got < 0) throw new Failure(`${this.options.journal}: cannot be read: ${errnoName(got)}; try again`);
  }

  private told(count: number): void {
    this.blocks += count;
    this.options.progress(0.5 + this.blocks / this.blocksInAll / 2);
    this.keepLease();
  }

  private must(result: number, what: string, { facts }: PlannedImage): void {
    if (result >= 0) return;
    const todo = "the journal keeps all of it; mend what is wrong beneath, and recover again";
    throw new Failure(`${this.options.backing}/${facts.path}: ${what}: ${errnoName(result)}; ${todo}`);
  }

  /** Before home files are written, and now and then while they are: a recovery that is cut short finds its own traces. */
  private keepLease(): void {
    const now = this.target.nowMs();
    if (now < this.leaseMs - LEASE_MS / 2) return;
    this.leaseMs = now + LEASE_MS;
    this.superblock.leaseMs = Math.max(this.superblock.leaseMs, this.leaseMs);
    this.writeSuperblock();
  }

  /** All is at home: the tail goes to where the log ends. Both superblocks, one after the other. */
  private empty({ position, sequence, previous, epoch }: Scan): void {
    Object.assign(this.superblock, {
      tailPosition: position,
      tailSequence: sequence,
      tailPrevious: previous,
      durable: sequence,
      epoch: epoch + 1,
    });
    for (let i = 0; i < 2; i++) this.writeSuperblock();
  }

  private writeSuperblock(): void {
    const { superblock, journal } = this;
    superblock.generation++;
    const bytes = Buffer.alloc(SUPERBLOCK_BYTES);
    encodeSuperblock(superblock, bytes);
    const written = journal.write((superblock.generation % 2) * SUPERBLOCK_BYTES, bytes);
    const result = written < 0 ? written : journal.flush();
    if (result < 0)
      throw new Failure(`${this.options.journal}: cannot be written: ${errnoName(result)}; see its device`);
  }
}

/** Home is as its commits have it. */
const asksForNothing = ({ blocks, actions, exact }: PlannedImage): boolean =>
  blocks.size === 0 && actions.length === 0 && exact === undefined;

/** The bytes of a piece, stretch by stretch. */
function stretches({ low, high, sectors }: Piece): [number, number][] {
  if (sectors === 0) return [[low, high]];
  const found: [number, number][] = [];
  for (let sector = 0; sector < 8; sector++) {
    if ((sectors & (1 << sector)) !== 0) found.push([sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES]);
  }
  return found;
}
