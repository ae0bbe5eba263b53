/**
 * The journal as an engine finds it in descriptor 8: scanned, and opened again for direct I/O. What the next engine must know of
 * it lies in the slab, in its memory region (`fs/memory.ts`) at 3072:
 *
 *   0   f64 sequence of the last commit that is on stable media      8   f64 the error with which it failed, negated; 0: it has not
 *   16  the journal's id, 16 bytes: of another journal this says nothing
 *
 * A journal that has failed is declared void by a file beside the state, `void`, which names it: no recovery looks into it, also
 * when keeper and slab are gone.
 */
import { closeSync, fsyncSync, openSync, writeSync } from "node:fs";
import { errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Timers } from "../base/timers.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { errnoOf, PositionedFile } from "../device/positioned-file.ts";
import { OWN_NAME } from "../fs/held.ts";
import type { Inodes } from "../fs/inodes.ts";
import { COMMIT_FRAMES_MAX, RING_AT } from "../journal/layout.ts";
import { type Scan, scan, UNREAD } from "../journal/scan.ts";
import { newSuperblock, readSuperblocks, type Superblock } from "../journal/superblock.ts";
import { O, SEEK_HOLE } from "../sys/constants.ts";
import { IoVector } from "../sys/iovec.ts";
import * as libc from "../sys/libc.ts";
import { Mapping } from "../sys/memory.ts";
import { createAnew, openDirectory, pathOfOpen, readText, syncDirectory } from "../sys/own-files.ts";
import type { OpenJournal } from "../volume/journaling.ts";
import { type EngineConfig, EngineFd } from "./config.ts";
import { storedPathOf } from "./paths.ts";

const AT = 3072;
const ID_AT = AT + 16;
/** What a journal skips that begins anew behind damage, so that nothing of it is taken for newer. */
const SEQUENCES_SKIPPED = 2 ** 32;

export interface JournalOptions {
  config: EngineConfig;
  inodes: Inodes;
  /** The slab's memory region. */
  memory: ArrayBuffer;
  timers: Timers;
  log: Log;
}

/** Undefined: this mount has none. Throws a `Failure` for one that cannot be carried on with. */
export function openJournal({ config, inodes, memory, timers, log }: JournalOptions): OpenJournal | undefined {
  if (config.journal === undefined) return undefined;
  const { shown, id, bytes } = config.journal;
  if (isVoid(id)) return undefined;
  const known = new Known(memory, id);
  const found = read(config, known, log);
  if (found instanceof Failure && known.broken === 0) throw found;
  const isUnread = found instanceof Failure;
  const superblock = isUnread ? newSuperblock(id, bytes, config.backing, 0) : found.superblock;
  if (!isUnread) known.acknowledge(found.scan.sequence - 1);
  return {
    fd: directOr(EngineFd.journal, log),
    superblock,
    scan: isUnread ? UNREAD : found.scan,
    identity: (slot) => inodes.records.identity(slot),
    path: (slot) => storedPathOf(inodes, slot),
    broken: known.broken,
    written: writtenBlocks(EngineFd.journal, superblock.blocks),
    removedFd: inodes.held.openForFlush(),
    commitFrames: COMMIT_FRAMES_MAX,
    acknowledged: (sequence) => known.acknowledge(sequence),
    failed: (result) => {
      known.broken = result;
      log.error(
        { journal: shown, errno: errnoName(result) },
        `journal ${shown}: failed (${errnoName(result)}) and is given up: from now on each flush takes its image home`,
      );
    },
    abandon: (done) => timers.at(0, () => done(declareVoid(id))),
  };
}

interface Found {
  superblock: Superblock;
  scan: Scan;
}

/** What the file says, or why it cannot be carried on with. Its filesystem may fail every call. */
function read(config: EngineConfig, known: Known, log: Log): Found | Failure {
  const { shown } = config.journal!;
  const unreadable = (why: string, cause?: unknown): Failure =>
    new Failure(`${shown}: the journal cannot be read (${why}); ${REMEDY}`, ExitCode.refused, cause);
  try {
    const file = new PositionedFile(EngineFd.journal);
    const { state, superblock } = readSuperblocks(file);
    if (superblock === undefined) return unreadable(state);
    return {
      superblock,
      scan: carriedOn(config, superblock, scan(file, superblock, known.acknowledged(superblock)), log),
    };
  } catch (error) {
    return error instanceof Failure ? error : unreadable(errnoName(errnoOf(error)), error);
  }
}

/** Calls `act` with a path of `.hypegear` in the backing directory. */
function inOwn<T>(act: (base: string) => T): T {
  const fd = openDirectory(`${pathOfOpen(EngineFd.backing)}/${OWN_NAME}`);
  try {
    return act(pathOfOpen(fd));
  } finally {
    closeSync(fd);
  }
}

function isVoid(id: string): boolean {
  try {
    return inOwn((base) => readText(`${base}/void`)).trim() === id;
  } catch {
    return false;
  }
}

/** 0 when it is on stable media, or a negated error number. */
function declareVoid(id: string): number {
  try {
    inOwn((base) => {
      const file = createAnew(`${base}/void`);
      try {
        writeSync(file, `${id}\n`);
        fsyncSync(file);
      } finally {
        closeSync(file);
      }
      syncDirectory(base);
    });
    return 0;
  } catch (error) {
    return errnoOf(error);
  }
}

const REMEDY = "the slab has all writes: mount with --force to go on without what the journal has";

/** The journal from where `found` says that its log ends; damaged, it begins anew if the user forces it. */
function carriedOn({ journal, force, adopted }: EngineConfig, superblock: Superblock, found: Scan, log: Log): Scan {
  if (found.verdict === "end" || found.verdict === "torn") return found;
  const what = `${journal!.shown}: the journal is ${found.verdict === "rot" ? "damaged" : "unreadable"} at commit ${found.sequence}`;
  if (!adopted || !force) throw new Failure(`${what}; ${REMEDY}`, ExitCode.refused);
  log.warn(`${what}; it begins anew, the slab has all writes (--force)`);
  const sequence = found.sequence + SEQUENCES_SKIPPED;
  Object.assign(superblock, { tailPosition: 0, tailSequence: sequence, tailPrevious: 0, durable: sequence });
  return { ...found, commits: [], verdict: "end", position: 0, sequence, previous: 0 };
}

/** What an earlier engine knew. */
class Known {
  private readonly isSame: boolean;
  private readonly at: Float64Array;

  constructor(memory: ArrayBuffer, id: string) {
    this.at = new Float64Array(memory, AT, 2);
    const stored = Buffer.from(memory, ID_AT, 16);
    this.isSame = stored.toString("hex") === id;
    if (this.isSame) return;
    stored.fill(0); // a kill among these leaves what is of no journal
    this.at.fill(0);
    stored.write(id, "hex");
  }

  /** Undefined if it was of another journal; 0 for one that no engine has used. */
  acknowledged({ epoch }: Superblock): number | undefined {
    return epoch === 0 ? 0 : this.isSame ? this.at[0]! : undefined;
  }

  acknowledge(sequence: number): void {
    this.at[0] = sequence;
  }

  get broken(): number {
    return this.at[1]!;
  }

  set broken(result: number) {
    this.at[1] = result;
  }
}

/** The file opened again for direct I/O, or `fd` itself where it cannot be had. */
function directOr(fd: number, log: Log): number {
  try {
    const direct = openSync(`/proc/self/fd/${fd}`, O.RDWR | O.DIRECT | O.CLOEXEC);
    const tried = readsBlock(direct);
    if (tried >= 0) return direct;
    libc.close(direct);
    log.info(`the journal is written through the page cache (${errnoName(tried)})`);
  } catch (error) {
    log.info(`the journal is written through the page cache (${(error as NodeJS.ErrnoException).code})`);
  }
  return fd;
}

/** Up to where a journal was written, as its filesystem tells; of what cannot tell, all. */
function writtenBlocks(fd: number, blocks: number): number {
  const end = libc.lseek(fd, RING_AT, SEEK_HOLE);
  return end < 0 ? blocks : Math.min(Math.floor((end - RING_AT) / BLOCK_BYTES), blocks);
}

function readsBlock(fd: number): number {
  const block = Mapping.anonymous(BLOCK_BYTES);
  const iov = new IoVector(1);
  iov.set(0, block.address, BLOCK_BYTES);
  const result = libc.preadv(fd, iov.address, 1, 0);
  block.unmap();
  return result;
}
