/**
 * Reads a journal from its tail on: which commits are live, where the log ends, and whether that end is the one that a kill
 * or a power cut leaves, or damage. What is found where the next commit should be, and what lies behind it, decide:
 *
 *   found there                             acknowledged commits behind it    verdict
 *   the commit, whole                       either                            good: goes on behind it
 *   nothing of this turn                    none                              end
 *   the commit, but its bytes are not whole none                              torn: the end; it was never acknowledged
 *   either of these two                     some                              rot: commits in the middle are gone
 *   cannot be read                          either                            unreadable
 *
 * A transaction is written when the one before is on stable media. So acknowledged commits behind a gap are a later
 * transaction's, written by the same engine or a later one; a superblock knows too how far all was durable. What an engine that was killed
 * left of a transaction that it had not ended is of an older epoch than what its successor wrote, and proves nothing.
 */
import { crc32 } from "node:zlib";
import { BLOCK_BYTES } from "../base/units.ts";
import type { JournalReader } from "./contract.ts";
import { Descriptor, descriptorBlocks } from "./descriptor.ts";
import { ringOffset } from "./layout.ts";
import type { Superblock } from "./superblock.ts";

export type Verdict = "good" | "end" | "torn" | "rot" | "unreadable";

/** What lies where the next commit should be. */
export type Find = "whole" | "nothing" | "torn" | "unreadable";

/** The table above: total over what is found and whether there are acknowledged commits behind. */
export const VERDICTS = {
  whole: { none: "good", some: "good" },
  nothing: { none: "end", some: "rot" },
  torn: { none: "torn", some: "rot" },
  unreadable: { none: "unreadable", some: "unreadable" },
} as const satisfies Record<Find, Record<"none" | "some", Verdict>>;

/** A live commit, and where its blocks are: bytes in the file. */
export interface Commit {
  readonly descriptor: Descriptor;
  readonly payloadAt: number;
}

export interface Scan {
  /** Commits of whole transactions, from the tail on. */
  readonly commits: readonly Commit[];
  /** How the log ends. Never "good". */
  readonly verdict: Exclude<Verdict, "good">;
  /** Where the next transaction begins: ring block, sequence, and the checksum that it follows. */
  readonly position: number;
  readonly sequence: number;
  readonly previous: number;
  /** The largest epoch that was seen. */
  readonly epoch: number;
  /** Paths of images that acknowledged commits behind a gap name. */
  readonly lost: ReadonlySet<string>;
}

/** What stands for the scan of a journal that cannot be read. */
export const UNREAD: Scan = {
  commits: [],
  verdict: "unreadable",
  position: 0,
  sequence: 1,
  previous: 0,
  epoch: 0,
  lost: new Set(),
};

const CHUNK_BYTES = 2 ** 20;
/** One for all scans: they come one after the other. */
const chunk = Buffer.allocUnsafeSlow(CHUNK_BYTES);

/**
 * Scans the journal behind `superblock`. `acknowledged`, for the successor of an engine that was killed: the sequence of the
 * last commit that was. The log ends there; the blocks of its commits are not read. `progress` is told how many bytes of the
 * ring were looked at.
 */
export function scan(
  reader: JournalReader,
  superblock: Superblock,
  acknowledged?: number,
  progress: (bytes: number) => void = () => undefined,
): Scan {
  return new Scanner(reader, superblock, acknowledged, progress).run();
}

class Scanner {
  private readonly reader: JournalReader;
  private readonly superblock: Superblock;
  private readonly acknowledged: number | undefined;
  private readonly progress: (bytes: number) => void;
  private position: number;
  private sequence: number;
  private previous: number;
  private epoch: number;
  /** The sequence at which the transaction that is being read began. */
  private first: number;
  private readonly lost = new Set<string>();

  constructor(
    reader: JournalReader,
    superblock: Superblock,
    acknowledged: number | undefined,
    progress: (bytes: number) => void,
  ) {
    this.reader = reader;
    this.superblock = superblock;
    this.acknowledged = acknowledged;
    this.progress = progress;
    this.position = superblock.tailPosition;
    this.sequence = superblock.tailSequence;
    this.previous = superblock.tailPrevious;
    this.epoch = superblock.epoch;
    this.first = this.sequence;
  }

  run(): Scan {
    const commits: Commit[] = [];
    let whole = 0;
    let { position, sequence, previous } = this;
    for (;;) {
      const { find, commit } = this.look();
      const verdict: Verdict = VERDICTS[find][find === "whole" || !this.isFollowed() ? "none" : "some"];
      if (verdict !== "good")
        return { ...this.at(position, sequence, previous), commits: commits.slice(0, whole), verdict };
      commits.push(commit!);
      this.pass(commit!.descriptor);
      if (!commit!.descriptor.header.isLast) continue;
      whole = commits.length;
      this.first = this.sequence;
      ({ position, sequence, previous } = this);
    }
  }

  private at(position: number, sequence: number, previous: number): Omit<Scan, "commits" | "verdict"> {
    return { position, sequence, previous, epoch: this.epoch, lost: this.lost };
  }

  private pass({ header, blocks, records, checksum }: Descriptor): void {
    this.position = header.position + blocks + records;
    if (this.position >= this.superblock.blocks) this.position = 0;
    this.sequence = header.sequence + 1;
    this.previous = checksum;
    this.epoch = Math.max(this.epoch, header.epoch);
    this.progress((blocks + records) * BLOCK_BYTES);
  }

  /** Looks for the next commit: where the one before ends, or, if it did not fit there, at the ring's beginning. */
  private look(): { find: Find; commit?: Commit } {
    if (this.sequence > (this.acknowledged ?? Number.POSITIVE_INFINITY)) return { find: "nothing" };
    const here = this.lookAt(this.position);
    if (here.find === "whole" || this.position === 0) return here;
    const there = this.lookAt(0);
    if (there.find === "whole") return there;
    return here.find === "nothing" ? there : here;
  }

  private lookAt(position: number): { find: Find; commit?: Commit } {
    const bytes = this.descriptorAt(position);
    if (typeof bytes === "number") return { find: "unreadable" };
    const descriptor = Descriptor.decode(bytes);
    if (descriptor === undefined) return { find: this.claims(bytes) ? "torn" : "nothing" };
    if (!this.isNext(descriptor, position)) return { find: "nothing" };
    const payloadAt = ringOffset(position + descriptor.blocks);
    const payload = this.acknowledged !== undefined ? 0 : this.checkPayload(descriptor, payloadAt);
    if (payload < 0) return { find: "unreadable" };
    return payload === 0 ? { find: "whole", commit: { descriptor, payloadAt } } : { find: "torn" };
  }

  /** The blocks of the descriptor that begins at `position`, or its first block if none does; negative: cannot be read. */
  private descriptorAt(position: number): Buffer | number {
    const first = Buffer.alloc(BLOCK_BYTES);
    const got = this.reader.read(ringOffset(position), first);
    if (got < 0) return got;
    const blocks = descriptorBlocks(first);
    if (blocks <= 1) return first;
    const all = Buffer.alloc(blocks * BLOCK_BYTES);
    const more = this.reader.read(ringOffset(position), all);
    return more < 0 ? more : all;
  }

  /** A descriptor with a wrong checksum that says it is the one that should be here. */
  private claims(bytes: Buffer): boolean {
    return descriptorBlocks(bytes) > 0 && bytes.readDoubleLE(32) === this.sequence;
  }

  private isNext({ header, blocks, records }: Descriptor, position: number): boolean {
    return (
      header.id === this.superblock.id &&
      header.sequence === this.sequence &&
      header.position === position &&
      header.previous === this.previous &&
      header.first === this.first &&
      position + blocks + records <= this.superblock.blocks
    );
  }

  /** 0: the blocks have the right checksum; 1: they have not; negative: they cannot be read. */
  private checkPayload({ records, header }: Descriptor, at: number): number {
    let checksum = 0;
    for (let done = 0; done < records * BLOCK_BYTES; ) {
      const piece = chunk.subarray(0, Math.min(CHUNK_BYTES, records * BLOCK_BYTES - done));
      const got = this.reader.read(at + done, piece);
      if (got < 0) return got;
      checksum = crc32(piece, checksum);
      done += piece.length;
    }
    return checksum === header.payloadChecksum ? 0 : 1;
  }

  /** True if commits that were acknowledged come after the one that is looked for. */
  private isFollowed(): boolean {
    if (this.acknowledged !== undefined) return this.sequence <= this.acknowledged;
    const { blocks, tailPosition, durable } = this.superblock;
    const { position } = this;
    let found = this.sequence < durable;
    const ranges =
      position < tailPosition
        ? [[position, tailPosition]]
        : [
            [position, blocks],
            [0, tailPosition],
          ];
    for (const [from, to] of ranges) if (this.searchIn(from!, to!)) found = true;
    return found;
  }

  /** Looks for acknowledged commits in the ring blocks `from` to `to` - 1, and notes what images they name. */
  private searchIn(from: number, to: number): boolean {
    let found = false;
    for (let at = from; at < to; at += CHUNK_BYTES / BLOCK_BYTES) {
      const piece = chunk.subarray(0, Math.min(CHUNK_BYTES, (to - at) * BLOCK_BYTES));
      piece.fill(0);
      this.reader.read(ringOffset(at), piece); // what cannot be read proves nothing
      this.progress(piece.length);
      for (let block = 0; block * BLOCK_BYTES < piece.length; block++) {
        if (descriptorBlocks(piece.subarray(block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES)) === 0) continue;
        if (this.proves(at + block)) found = true;
      }
    }
    return found;
  }

  /** True if an acknowledged transaction later than the gap has a commit at `position`. */
  private proves(position: number): boolean {
    const bytes = this.descriptorAt(position);
    const descriptor = typeof bytes === "number" ? undefined : Descriptor.decode(bytes);
    if (descriptor === undefined) return false;
    const { id, first, position: own, epoch, sequence } = descriptor.header;
    if (id !== this.superblock.id || own !== position || epoch < this.epoch) return false;
    if (sequence <= this.sequence || first <= this.first) return false;
    for (const { facts } of descriptor.images) this.lost.add(facts.path);
    return true;
  }
}
