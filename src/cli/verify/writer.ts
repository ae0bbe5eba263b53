/**
 * The process that plays the guest: writes stamped blocks at random places of one image, several at a time, and flushes now and
 * then, until it is asked to stop (SIGTERM) or a call fails. Its log (`ledger.ts`) is what it was promised.
 */
import { openSync, writeSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { type Clock, systemClock } from "../../base/clock.ts";
import { errnoName } from "../../base/errno.ts";
import { BLOCK_BYTES } from "../../base/units.ts";
import { stampBlock } from "./stamp.ts";

const LANES = 4;
const RUN_BLOCKS_MAX = 4;
const FLUSH_EVERY = 24;

export interface WriterOrders {
  /** The image's path in the mount, and its number in stamps. */
  path: string;
  image: number;
  blocks: number;
  log: string;
  /** First sequence number. */
  first: number;
  seed: number;
  flushes: boolean;
}

export async function writeStamps(orders: WriterOrders): Promise<void> {
  const writer = new Writer(orders, await open(orders.path, "r+"));
  process.on("SIGTERM", () => writer.stop());
  await Promise.all(Array.from({ length: LANES }, () => writer.lane()));
}

class Writer {
  private readonly orders: WriterOrders;
  private readonly file: FileHandle;
  private readonly log: number;
  private readonly clock: Clock = systemClock();
  private readonly busy: Uint8Array;
  private stopping = false;
  private next: number;
  private flushes = 0;
  private worstUs = 0;
  private state: number;

  constructor(orders: WriterOrders, file: FileHandle) {
    this.orders = orders;
    this.file = file;
    this.log = openSync(orders.log, "a", 0o600);
    this.busy = new Uint8Array(orders.blocks);
    this.next = orders.first;
    this.state = orders.seed || 1;
  }

  stop(): void {
    this.stopping = true;
  }

  async lane(): Promise<void> {
    try {
      while (!this.stopping) {
        if (this.orders.flushes && this.random(FLUSH_EVERY) === 0) await this.flush();
        else await this.write();
      }
    } catch (error) {
      const { code, errno = 0, syscall } = error as NodeJS.ErrnoException;
      this.note(`X ${syscall ?? "call"}: ${code ?? errnoName(errno)}`);
      this.stopping = true;
    }
  }

  private async write(): Promise<void> {
    const { block, count } = this.place();
    const sequence = this.next;
    this.next += count;
    const buffer = Buffer.allocUnsafe(count * BLOCK_BYTES);
    for (let i = 0; i < count; i++) {
      stampBlock(buffer, i * BLOCK_BYTES, { image: this.orders.image, block: block + i, sequence: sequence + i });
    }
    this.busy.fill(1, block, block + count);
    this.note(`W ${sequence} ${block} ${count}`);
    const { bytesWritten } = await this.timed(() => this.file.write(buffer, 0, buffer.length, block * BLOCK_BYTES));
    this.note(bytesWritten === buffer.length ? `A ${sequence}` : `X write: ${bytesWritten} of ${buffer.length} bytes`);
    this.busy.fill(0, block, block + count);
  }

  private async flush(): Promise<void> {
    const number = ++this.flushes;
    this.note(`B ${number}`);
    await this.timed(() => this.file.datasync());
    this.note(`E ${number}`);
  }

  private async timed<T>(call: () => Promise<T>): Promise<T> {
    const begin = this.clock.nowUs();
    const outcome = await call();
    const tookUs = Math.round(this.clock.nowUs() - begin);
    if (tookUs > this.worstUs) {
      this.worstUs = tookUs;
      this.note(`P ${tookUs}`);
    }
    return outcome;
  }

  /** A run of blocks that no write under way touches. */
  private place(): { block: number; count: number } {
    for (;;) {
      const block = this.random(this.orders.blocks);
      const count = Math.min(1 + this.random(RUN_BLOCKS_MAX), this.orders.blocks - block);
      if (this.busy.subarray(block, block + count).every((used) => used === 0)) return { block, count };
    }
  }

  private random(below: number): number {
    this.state ^= this.state << 13;
    this.state ^= this.state >>> 17;
    this.state ^= this.state << 5;
    return (this.state >>> 0) % below;
  }

  private note(line: string): void {
    writeSync(this.log, `${line}\n`);
  }
}
