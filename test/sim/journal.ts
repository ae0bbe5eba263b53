/** The journal of a simulated mount: its file, what survives an engine, and recovery, of the real thing or of what would be left. */
import { BLOCK_BYTES, type InodeSlot } from "../../src/base/units.ts";
import type { Identity, JournalReader } from "../../src/journal/contract.ts";
import { RING_AT, SUPERBLOCK_BYTES } from "../../src/journal/layout.ts";
import { type JournalFile, type ReplayFile, type ReplayTarget, replay } from "../../src/journal/replay.ts";
import { scan, UNREAD } from "../../src/journal/scan.ts";
import { encodeSuperblock, newSuperblock, readSuperblocks } from "../../src/journal/superblock.ts";
import { SEEK_HOLE } from "../../src/sys/constants.ts";
import type { OpenJournal } from "../../src/volume/journaling.ts";
import { SimFile, type SimHome, SimRemovals } from "./home.ts";
import type { PagedBytes } from "./paged.ts";
import type { Random } from "./random.ts";
import { Killed } from "./sim-io.ts";
import { must, type World } from "./world.ts";

/** The journal's place among the files. */
const SLOT = -1 as InodeSlot;
const BIRTH = 7;
const ID = "00112233445566778899aabbccddeeff";

const identityOf = (slot: InodeSlot): Identity => ({ inode: String(slot + 1000), birth: BIRTH });
export const slotOf = ({ inode }: Identity): InodeSlot => (Number(inode) - 1000) as InodeSlot;

export class SimJournal {
  readonly file: SimFile;
  readonly removals: SimRemovals;
  /** What the slab remembers. */
  acknowledged = 0;
  broken = 0;
  /** Declared void. */
  isVoid = false;
  /** The engine is killed just as, or when it has just, taken note of a transaction: a stream of its own, so that old seeds are as they were. */
  deaths: Random | undefined;
  /** Engines that have opened it. */
  private lives = 0;
  private readonly home: SimHome;
  private readonly world: World;
  private readonly commitBlocks: number;

  constructor(world: World, home: SimHome, blocks: number, commitBlocks: number) {
    this.commitBlocks = commitBlocks;
    this.removals = new SimRemovals(world, home);
    this.world = world;
    this.home = home;
    const bytes = (blocks + 2) * BLOCK_BYTES;
    this.file = new SimFile(SLOT, bytes, bytes, world, home);
    const free = home.freeBlocks;
    home.freeBlocks = Number.POSITIVE_INFINITY; // a journal is allocated whole, or not made
    this.file.takeRoom(0, RING_AT + world.random.pick([0, 200, 700, blocks]) * BLOCK_BYTES, 2);
    this.file.takeRoom(0, bytes, 1);
    home.freeBlocks = free;
    const superblock = newSuperblock(ID, bytes, "/images", 0);
    const encoded = Buffer.alloc(BLOCK_BYTES);
    for (let slot = 0; slot < 2; slot++) {
      encodeSuperblock({ ...superblock, generation: slot }, encoded);
      for (const image of [this.file.now, this.file.durable]) image.set(encoded, slot * SUPERBLOCK_BYTES);
    }
  }

  private get written(): number {
    return (this.file.seek(RING_AT, SEEK_HOLE) - RING_AT) / BLOCK_BYTES;
  }

  /** As an engine finds it. */
  open(): OpenJournal {
    const life = ++this.lives;
    const reader = readerOf(this.file.now);
    const { superblock } = readSuperblocks(reader);
    must(superblock !== undefined, () => "an engine finds no superblock");
    const found = scan(reader, superblock!, this.acknowledged);
    must(
      found.verdict === "end" || found.verdict === "torn",
      () => `an engine finds its journal in state ${found.verdict}`,
    );
    const isUnread = this.broken !== 0 && this.deaths?.chance(0.5) === true;
    return {
      fd: this.home.descriptorOf(this.file),
      superblock: isUnread ? newSuperblock(ID, this.file.now.length, "/images", 0) : superblock!,
      scan: isUnread ? UNREAD : found,
      broken: this.broken,
      written: this.written,
      removedFd: this.home.descriptorOf(this.removals),
      commitFrames: this.commitBlocks,
      identity: identityOf,
      path: (slot) => `image${slot}`,
      acknowledged: (sequence) => {
        const dies = this.deaths?.chance(0.02) === true;
        if (dies && this.deaths!.chance(0.5)) throw new Killed();
        this.acknowledged = sequence;
        if (dies) throw new Killed();
      },
      failed: (result) => {
        this.broken = result;
        this.world.note(() => `    the journal failed: ${result}`);
      },
      abandon: (done) =>
        this.world.after(1, () => {
          if (life !== this.lives) return; // killed before it was done
          this.isVoid = true;
          done(0);
        }),
    };
  }

  /**
   * Recovers what is on the devices, as after a power cut: into `files`, which are made of the durable bytes. `step` is called
   * before each step, and may end it all.
   */
  recover(
    files: ReadonlyMap<InodeSlot, Recovered>,
    journal: PagedBytes,
    step: () => void = () => undefined,
    force = false,
  ): void {
    if (this.isVoid) return;
    const file = journalOf(journal, step);
    const { superblock, state } = readSuperblocks(file);
    must(superblock !== undefined, () => `after a power cut the journal is ${state}`);
    const target: ReplayTarget = {
      open: (identity) => {
        const found = files.get(slotOf(identity));
        if (found !== undefined) return replayFileOf(found, step);
        return this.home.files.has(slotOf(identity)) ? "removed" : "missing";
      },
      nowMs: () => 0,
    };
    replay(file, superblock!, target, {
      backing: "/images",
      journal: "journal",
      force,
      progress: () => undefined,
    });
  }
}

/** A file as recovery makes it. */
export interface Recovered {
  bytes: PagedBytes;
  size: number;
}

export const readerOf = (image: PagedBytes): JournalReader => ({
  size: image.length,
  read: (offset, into) => image.read(offset, into),
});

const journalOf = (image: PagedBytes, step: () => void): JournalFile => ({
  ...readerOf(image),
  write: (offset, bytes) => {
    step();
    image.set(bytes, offset);
    return bytes.length;
  },
  flush: () => {
    step();
    return 0;
  },
});

const replayFileOf = (file: Recovered, step: () => void): ReplayFile => ({
  get size() {
    return file.size;
  },
  modifiedMs: 0,
  write: (offset, bytes) => {
    step();
    file.bytes.set(bytes, offset);
    file.size = Math.max(file.size, offset + bytes.length);
    return bytes.length;
  },
  truncate: (size) => {
    step();
    if (size < file.size) file.bytes.zero(size, file.bytes.length);
    file.size = size;
    return 0;
  },
  zero: (offset, length) => {
    step();
    file.bytes.zero(offset, offset + length);
    return 0;
  },
  wipe: (offset, length) => {
    step();
    file.bytes.zero(offset, Math.min(offset + length, file.size));
    return 0;
  },
  setModificationTime: () => 0,
  flush: () => {
    step();
    return 0;
  },
  close: () => undefined,
});
