/**
 * The journal as an engine finds it in descriptor 8: scanned, and opened again for direct I/O. What was acknowledged last lies in
 * the slab, so that the next engine knows how far all was on stable media: in its memory region (`fs/memory.ts`) at 3072
 *
 *   0  f64 sequence of the last commit that was      8  the journal's id, 16 bytes
 */
import { openSync } from "node:fs";
import { errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { PositionedFile } from "../device/positioned-file.ts";
import type { Inodes } from "../fs/inodes.ts";
import { type Scan, scan } from "../journal/scan.ts";
import { readSuperblocks, type Superblock } from "../journal/superblock.ts";
import { O } from "../sys/constants.ts";
import { IoVector } from "../sys/iovec.ts";
import * as libc from "../sys/libc.ts";
import { Mapping } from "../sys/memory.ts";
import type { OpenJournal } from "../volume/journaling.ts";
import { type EngineConfig, EngineFd } from "./config.ts";
import { storedPathOf } from "./paths.ts";

const AT = 3072;
const ID_AT = AT + 8;
/** What a journal skips that begins anew behind damage, so that nothing of it is taken for newer. */
const SEQUENCES_SKIPPED = 2 ** 32;

export interface JournalOptions {
  config: EngineConfig;
  inodes: Inodes;
  /** The slab's memory region. */
  memory: ArrayBuffer;
  log: Log;
}

/** Undefined: this mount has none. Throws a `Failure` for one that cannot be carried on with. */
export function openJournal({ config, inodes, memory, log }: JournalOptions): OpenJournal | undefined {
  if (config.journal === undefined) return undefined;
  const { shown } = config.journal;
  const file = new PositionedFile(EngineFd.journal);
  const { state, superblock } = readSuperblocks(file);
  if (superblock === undefined)
    throw new Failure(`${shown}: the journal cannot be read (${state}); ${TODO}`, ExitCode.refused);
  const acknowledged = new Acknowledged(memory, superblock);
  const found = carriedOn(config, superblock, scan(file, superblock, acknowledged.before), log);
  acknowledged.sequence = found.sequence - 1;
  return {
    fd: directOr(EngineFd.journal, log),
    superblock,
    scan: found,
    identity: (slot) => inodes.records.identity(slot),
    path: (slot) => storedPathOf(inodes, slot),
    acknowledged: (sequence) => {
      acknowledged.sequence = sequence;
    },
    failed: (result) =>
      log.error(
        { journal: shown, errno: errnoName(result) },
        `journal ${shown}: failed (${errnoName(result)}) and is given up: from now on each flush takes its image home`,
      ),
  };
}

const TODO = "the slab has all writes: mount with --force to go on without what the journal has";

/** The journal from where `found` says that its log ends; damaged, it begins anew if the user forces it. */
function carriedOn({ journal, force, adopted }: EngineConfig, superblock: Superblock, found: Scan, log: Log): Scan {
  if (found.verdict === "end" || found.verdict === "torn") return found;
  const what = `${journal!.shown}: the journal is ${found.verdict === "rot" ? "damaged" : "unreadable"} at commit ${found.sequence}`;
  if (!adopted || !force) throw new Failure(`${what}; ${TODO}`, ExitCode.refused);
  log.warn(`${what}; it begins anew, the slab has all writes (--force)`);
  const sequence = found.sequence + SEQUENCES_SKIPPED;
  Object.assign(superblock, { tailPosition: 0, tailSequence: sequence, tailPrevious: 0, durable: sequence });
  return { ...found, commits: [], verdict: "end", position: 0, sequence, previous: 0 };
}

class Acknowledged {
  private readonly at: Float64Array;
  /** What an earlier engine left; undefined if it knew another journal; 0 for one that no engine has used. */
  readonly before: number | undefined;

  constructor(memory: ArrayBuffer, { id, epoch }: Superblock) {
    this.at = new Float64Array(memory, AT, 1);
    const stored = Buffer.from(memory, ID_AT, 16);
    if (epoch === 0) this.before = 0;
    else this.before = stored.toString("hex") === id ? this.at[0]! : undefined;
    if (stored.toString("hex") === id) return;
    this.sequence = 0;
    stored.write(id, "hex");
  }

  set sequence(sequence: number) {
    this.at[0] = sequence;
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

function readsBlock(fd: number): number {
  const block = Mapping.anonymous(BLOCK_BYTES);
  const iov = new IoVector(1);
  iov.set(0, block.address, BLOCK_BYTES);
  const result = libc.preadv(fd, iov.address, 1, 0);
  block.unmap();
  return result;
}
