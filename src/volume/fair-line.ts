/**
 * Who waits for room, image by image: the one that has had least goes first, so that a flood of one image's writes does not stand
 * before another's next one. Start-time fair queueing (Goyal, Vin, Cheng: SIGCOMM 1996) with equal weights: an entry's start is
 * where its image's last one ends, or the start of what is being served, whichever is later; the smallest start is served next.
 */
import { Fifo } from "../base/fifo.ts";
import type { InodeSlot } from "../base/units.ts";

interface Entry<T> {
  item: T;
  start: number;
}

interface Flow<T> {
  readonly waiting: Fifo<Entry<T>>;
  /** Where its last entry ends, in blocks of the line's own time. */
  end: number;
}

const anyone = (): boolean => true;

export class FairLine<T> {
  length = 0;
  private readonly flows = new Map<InodeSlot, Flow<T>>();
  /** Start of the entry that was served last. */
  private now = 0;
  /** The flow whose entry is next; undefined: to be looked for. */
  private next: Flow<T> | undefined;

  /** Adds what `slot` wants `blocks` for, behind all else of its own. */
  push(slot: InodeSlot, blocks: number, item: T): void {
    let flow = this.flows.get(slot);
    if (flow === undefined) {
      flow = { waiting: new Fifo(), end: 0 };
      this.flows.set(slot, flow);
    }
    const start = Math.max(this.now, flow.end);
    flow.waiting.push({ item, start });
    flow.end = start + blocks;
    this.length++;
    this.next = undefined;
  }

  /** What is next; undefined: nothing waits. */
  get head(): T | undefined {
    if (this.length === 0) return undefined;
    this.next ??= this.least(anyone);
    return this.next!.waiting.at(0)!.item;
  }

  /** What is next of those images whose first is `eligible`; undefined: nothing of them waits. Else it is `head` now. */
  first(eligible: (item: T) => boolean): T | undefined {
    this.next = this.least(eligible);
    return this.next?.waiting.at(0)!.item;
  }

  /** All that waits. */
  *items(): Generator<T> {
    for (const { waiting } of this.flows.values()) for (const { item } of waiting) yield item;
  }

  /** Takes `head` out. */
  shift(): void {
    const flow = this.next ?? this.least(anyone)!;
    this.now = Math.max(this.now, flow.waiting.shift()!.start); // others may have come first (`first`)
    this.next = undefined;
    if (--this.length > 0) return;
    this.flows.clear();
    this.now = 0;
  }

  /** The flow whose first entry is next, of those that are `eligible`; undefined: none is. */
  private least(eligible: (item: T) => boolean): Flow<T> | undefined {
    let found: Flow<T> | undefined;
    for (const [slot, flow] of this.flows) {
      if (flow.waiting.length === 0) {
        if (flow.end <= this.now) this.flows.delete(slot); // as if it were new
      } else if (found === undefined || flow.waiting.at(0)!.start < found.waiting.at(0)!.start) {
        if (eligible(flow.waiting.at(0)!.item)) found = flow;
      }
    }
    return found;
  }
}
