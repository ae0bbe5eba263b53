/**
 * What an image must hold, from its writers' logs. A log has a line an event, written before the act or after its answer:
 *
 *   W sequence block count   a write of `count` blocks is issued; they get `sequence` and the numbers after it
 *   A sequence               it was answered
 *   B number, E number       a flush begins; it was answered
 *   P microseconds           no call took longer so far
 *   X text                   a call failed
 *
 * Two writes of one block are never under way together, so numbers grow in each block.
 */
import { BLOCK_BYTES } from "../../base/units.ts";
import { sequenceAt } from "./stamp.ts";

interface Issued {
  block: number;
  count: number;
}

export class Ledger {
  readonly image: number;
  writes = 0;
  flushes = 0;
  worstPauseUs = 0;
  /** Calls that failed, since this was last emptied. */
  errors: string[] = [];
  /** The next number that was never issued. */
  next = 1;
  private readonly answered: Float64Array;
  private readonly flushed: Float64Array;
  /** Issued, and never answered: may be there or not. */
  private readonly open = new Map<number, Issued>();

  constructor(image: number, blocks: number) {
    this.image = image;
    this.answered = new Float64Array(blocks);
    this.flushed = new Float64Array(blocks);
  }

  /** Takes in the whole log of a writer that has ended. A last line that a kill cut short tells nothing. */
  take(log: string): void {
    const snapshots = new Map<number, Float64Array>();
    for (const line of log.split("\n").slice(0, -1)) {
      const number = Number(line.split(" ")[1]);
      if (line.startsWith("W")) this.issue(line);
      else if (line.startsWith("A")) this.answer(number);
      else if (line.startsWith("B")) snapshots.set(number, this.answered.slice());
      else if (line.startsWith("E")) this.flush(snapshots.get(number)!);
      else if (line.startsWith("P")) this.worstPauseUs = Math.max(this.worstPauseUs, number);
      else this.errors.push(line.slice(2));
    }
  }

  private issue(line: string): void {
    const [, sequence, block, count] = line.split(" ").map(Number) as [number, number, number, number];
    this.open.set(sequence, { block, count });
    this.next = Math.max(this.next, sequence + count);
  }

  private answer(sequence: number): void {
    const { block, count } = this.open.get(sequence)!;
    this.open.delete(sequence);
    for (let i = 0; i < count; i++) this.answered[block + i] = sequence + i;
    this.writes++;
  }

  private flush(snapshot: Float64Array): void {
    for (let i = 0; i < snapshot.length; i++) this.flushed[i] = Math.max(this.flushed[i]!, snapshot[i]!);
    this.flushes++;
  }

  /** Blocks of `content` that hold neither their last answered write nor a later unanswered one. */
  missing(content: Buffer): string[] {
    const maybe = new Set<number>();
    for (const [sequence, { count }] of this.open) for (let i = 0; i < count; i++) maybe.add(sequence + i);
    return this.compare(content, this.answered, (found, wanted) => found > wanted && maybe.has(found));
  }

  /** Blocks of the backing file's `content` that are older than the last answered flush. */
  unflushed(content: Buffer): string[] {
    return this.compare(content, this.flushed, (found, wanted) => found > wanted && found < this.next);
  }

  private compare(
    content: Buffer,
    wanted: Float64Array,
    isAlsoRight: (found: number, wanted: number) => boolean,
  ): string[] {
    const wrong: string[] = [];
    for (let block = 0; block < wanted.length; block++) {
      const at = block * BLOCK_BYTES;
      const found = at + BLOCK_BYTES <= content.length ? sequenceAt(content, at, this.image, block) : -1;
      if (found === wanted[block] || isAlsoRight(found, wanted[block]!)) continue;
      const what = found > 0 ? `write ${found}` : found === 0 ? "zeros" : "no sound stamp";
      wrong.push(`image ${this.image} block ${block}: write ${wanted[block]} is missing, found ${what}`);
    }
    return wrong;
  }
}
