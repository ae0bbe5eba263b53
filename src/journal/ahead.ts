/**
 * Zeros written ahead of the log, in the first turn of the ring: a commit into blocks that are only allocated makes the filesystem
 * write its own journal too, and takes twice as long. The whole file is not written at mount, which would take seconds.
 *
 * No commit is placed where zeros are under way: its writer waits. What an earlier engine's log has is not touched: zeros
 * begin behind its end, and nothing behind that is live while the ring has not turned.
 */

import { BLOCK_BYTES } from "../base/units.ts";
import type { Io } from "../sys/io.ts";
import { IoVector } from "../sys/iovec.ts";
import { Mapping } from "../sys/memory.ts";
import { ringOffset } from "./layout.ts";
import type { Ring } from "./ring.ts";

/** Ring blocks written at a time: few, so that no flush waits long behind them. */
const PIECE = 256;
/** Fewer than this many written blocks before the head, and more are written. */
const AHEAD = 2 * PIECE;

export class Ahead {
  private readonly io: Io;
  private readonly fd: number;
  private readonly ring: Ring;
  private readonly failed: (result: number) => void;
  private readonly zeros = Mapping.anonymous(PIECE * BLOCK_BYTES);
  private readonly iov = new IoVector(1);
  /** Every ring block below was written. */
  private written: number;
  /** Where zeros are under way end; 0: none are. */
  private end = 0;
  private waiter: (() => void) | undefined;

  /**
   * `written`: how many ring blocks from the first were written, for certain or nearly so. `failed` is told of an error: what the
   * device could not make durable then may be a commit's, and that one's own flush succeed afterwards.
   */
  constructor(io: Io, fd: number, ring: Ring, written: number, failed: (result: number) => void) {
    this.failed = failed;
    this.io = io;
    this.fd = fd;
    this.ring = ring;
    this.written = ring.tail <= ring.head ? Math.max(written, ring.head) : ring.blocks;
  }

  /** A commit is to lie in the ring blocks [from, to): `clear` runs, at once perhaps, when no zeros come over it. */
  take(from: number, to: number, clear: () => void): void {
    if (from < this.end && to > this.written) {
      this.waiter = () => this.take(from, to, clear);
      return;
    }
    if (this.end === 0) this.written = Math.max(this.written, to);
    clear();
  }

  /** Sees to it that enough is written before the head. */
  keep(): void {
    const { ring, written } = this;
    if (this.end > 0 || written >= ring.blocks || ring.head + AHEAD <= written) return;
    this.end = Math.min(written + PIECE, ring.blocks);
    const bytes = (this.end - written) * BLOCK_BYTES;
    this.iov.set(0, this.zeros.address, bytes);
    this.io.writeDurably(this.fd, this.iov.address, 1, ringOffset(written), (result) => {
      if (result < 0) this.failed(result);
      this.written = result === bytes ? this.end : ring.blocks;
      this.end = 0;
      const { waiter } = this;
      this.waiter = undefined;
      waiter?.();
    });
  }
}
