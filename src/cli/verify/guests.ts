/** The writers, one process an image, and what they were promised. */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Ledger } from "./ledger.ts";
import { IMAGE_BLOCKS, IMAGES, type VerifyScratch } from "./scratch.ts";
import { MAIN } from "./subject.ts";
import type { WriterOrders } from "./writer.ts";

const POLL_MS = 20;

export class Guests {
  readonly ledgers = IMAGES.map((_, image) => new Ledger(image, IMAGE_BLOCKS));
  private readonly scratch: VerifyScratch;
  private writers: ChildProcess[] = [];
  private run = 0;

  constructor(scratch: VerifyScratch) {
    this.scratch = scratch;
  }

  /** Starts a writer on each image; the first image's flushes now and then. */
  start(): void {
    this.run++;
    this.writers = this.ledgers.map((ledger, image) => {
      const orders: WriterOrders = {
        path: join(this.scratch.mountpoint, IMAGES[image]!),
        image,
        blocks: IMAGE_BLOCKS,
        log: this.scratch.logOf(image, this.run),
        first: ledger.next,
        seed: this.run * 7919 + image,
        flushes: image === 0,
      };
      closeSync(openSync(orders.log, "a", 0o600));
      const args = [MAIN, "verify-writer", JSON.stringify(orders)];
      return spawn(process.execPath, args, { detached: true, stdio: "ignore" });
    });
  }

  /** Ends the writers, by asking them or by SIGKILL, and takes in what they were promised. */
  async end(signal: "SIGTERM" | "SIGKILL"): Promise<void> {
    for (const writer of this.writers) writer.kill(signal);
    while (this.writers.some(({ exitCode, signalCode }) => exitCode === null && signalCode === null))
      await sleep(POLL_MS);
    this.writers = [];
    for (const ledger of this.ledgers) {
      const log = this.scratch.logOf(ledger.image, this.run);
      ledger.take(readFileSync(log, "utf8"));
      rmSync(log);
    }
  }

  /** Kills them, whatever they are doing. */
  abandon(): void {
    for (const writer of this.writers) writer.kill("SIGKILL");
  }

  /** What of all that was answered is missing in the images of `directory`. */
  async missing(directory: string): Promise<string[]> {
    return this.compared(directory, (ledger, content) => ledger.missing(content));
  }

  /** What of all that was flushed is missing in the images of `directory`. */
  async unflushed(directory: string): Promise<string[]> {
    return this.compared(directory, (ledger, content) => ledger.unflushed(content));
  }

  private async compared(directory: string, compare: (ledger: Ledger, content: Buffer) => string[]): Promise<string[]> {
    const wrong: string[] = [];
    for (const ledger of this.ledgers) {
      wrong.push(...compare(ledger, await readFile(join(directory, IMAGES[ledger.image]!))));
    }
    return wrong;
  }

  /** Calls that failed since this was last asked. */
  takeErrors(): string[] {
    return this.ledgers.flatMap((ledger) => ledger.errors.splice(0).map((text) => `${IMAGES[ledger.image]}: ${text}`));
  }

  get writes(): number {
    return this.ledgers.reduce((sum, { writes }) => sum + writes, 0);
  }

  get flushes(): number {
    return this.ledgers.reduce((sum, { flushes }) => sum + flushes, 0);
  }

  get blocks(): number {
    return this.ledgers.reduce((sum, { next }) => sum + next - 1, 0);
  }

  get worstPauseUs(): number {
    return Math.max(...this.ledgers.map(({ worstPauseUs }) => worstPauseUs));
  }
}
