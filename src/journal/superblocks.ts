/** The two superblocks of an open journal: written in turn, each with a device flush of its own. */
import type { Clock } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { result, type Task } from "../base/task.ts";
import type { Io } from "../sys/io.ts";
import { IoVector } from "../sys/iovec.ts";
import { Mapping } from "../sys/memory.ts";
import { SUPERBLOCK_BYTES } from "./layout.ts";
import { encodeSuperblock, type Superblock } from "./superblock.ts";

/** Home files may be written until so long after the last superblock or commit. */
const LEASE_MS = 5000;

export class Superblocks {
  readonly current: Superblock;
  /** When the lease ends, milliseconds of the civil clock. */
  leaseMs = 0;
  private readonly io: Io;
  private readonly clock: Clock;
  private readonly fd: number;
  private readonly memory = Mapping.anonymous(SUPERBLOCK_BYTES);
  private readonly bytes = Buffer.from(this.memory.view(0, SUPERBLOCK_BYTES));
  private readonly iov = new IoVector(1);

  constructor(io: Io, clock: Clock, fd: number, current: Superblock) {
    this.io = io;
    this.clock = clock;
    this.fd = fd;
    this.current = current;
  }

  civilMs(): number {
    const { seconds, nanoseconds } = this.clock.civil();
    return seconds * 1000 + nanoseconds / 1e6;
  }

  /** A commit, which tells the time, or a superblock is about to be written. */
  extendLease(): number {
    this.leaseMs = this.civilMs() + LEASE_MS;
    return this.leaseMs;
  }

  /** Half of the lease is over. */
  get isLeaseShort(): boolean {
    return this.civilMs() >= this.leaseMs - LEASE_MS / 2;
  }

  /** Writes both. `durable`: see `superblock.ts`. 0 or a negated error number. */
  *writeBoth(durable: number): Task<number> {
    const written = yield* this.writeNext(durable);
    return written < 0 ? written : yield* this.writeNext(durable);
  }

  /** Writes the older of the two anew. 0 or a negated error number. */
  *writeNext(durable: number): Task<number> {
    const { current } = this;
    current.generation++;
    current.durable = durable;
    current.leaseMs = this.extendLease();
    encodeSuperblock(current, this.bytes);
    const written = yield* this.writeBlock((current.generation % 2) * SUPERBLOCK_BYTES);
    return written < 0 ? written : yield* result((done) => this.io.fsync(this.fd, true, done));
  }

  /** Writes zeros over the block at `offset` of the file. 0 or a negated error number. */
  *erase(offset: number): Task<number> {
    this.bytes.fill(0);
    return yield* this.writeBlock(offset);
  }

  private *writeBlock(offset: number): Task<number> {
    this.iov.set(0, this.memory.address, SUPERBLOCK_BYTES);
    return yield* writeWhole(this.io, this.fd, { iov: this.iov, entries: 1, bytes: SUPERBLOCK_BYTES, offset });
  }
}

export interface WholeWrite {
  readonly iov: IoVector;
  readonly entries: number;
  readonly bytes: number;
  readonly offset: number;
  /** Each write is on stable media when it ends. */
  readonly durably?: boolean;
}

/** Writes all of it, however short single writes are. 0 or a negated error number. */
export function* writeWhole(io: Io, fd: number, write: WholeWrite): Task<number> {
  const { iov, entries, bytes, offset, durably = false } = write;
  let first = 0;
  for (let done = 0; done < bytes; ) {
    const at = offset + done;
    const outcome = yield* result((end) => {
      if (durably) io.writeDurably(fd, iov.address + first * 16, entries - first, at, end);
      else io.writev(fd, iov.address + first * 16, entries - first, at, end);
    });
    if (outcome <= 0) return outcome === 0 ? -E.EIO : outcome;
    done += outcome;
    if (done < bytes) first = iov.advance(first, entries - first, outcome);
  }
  return 0;
}
