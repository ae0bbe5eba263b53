/**
 * Answers of a header, and behind it at most what a write has written: they are made in places of their own, so that several can
 * leave together (`batching.ts`). What a write has taken is counted when its answer leaves.
 */
import type { Clock } from "../base/clock.ts";
import { type Counters, HistogramSlot } from "../stats/counters.ts";
import { Mapping } from "../sys/memory.ts";
import { type Batching, KEPT_BYTES_MAX } from "./batching.ts";
import type { Channel } from "./channel.ts";
import { OUT_HEADER_BYTES } from "./request.ts";

/** fuse_write_out. */
const WRITE_OUT_BYTES = 8;
/** Places of answers that wait to be sent, used in turn: more than the ring that sends them has entries. Words of each. */
const PLACES = 1024;
const WORDS = 8;
/** The place behind them: of an answer that is sent at once, however many wait. */
const AT_ONCE = PLACES;
const MEMORY_BYTES = (PLACES + 1) * WORDS * 4;

export interface ShortAnswersOptions {
  channel: Channel;
  counters: Counters;
  clock: Clock;
  batching: Pick<Batching, "together" | "keep">;
  /** A reply of `bytes` bytes to that request was sent, with this result. */
  sent: (result: number, bytes: number, low: number, high: number) => void;
}

export class ShortAnswers {
  private readonly options: ShortAnswersOptions;
  private readonly memory = Mapping.anonymous(MEMORY_BYTES);
  private readonly words = new Uint32Array(this.memory.view(0, MEMORY_BYTES));
  private nextPlace = 0;
  /** A turn of serving is under way. */
  private isServing = false;
  /** Writes of this turn whose answers are kept, and when they were taken, as far as the clock was read. */
  private keptWrites = 0;
  private keptSinceUs = 0;

  constructor(options: ShortAnswersOptions) {
    this.options = options;
    options.channel.whenPostFails((place, result) => this.postFailed(place, result));
  }

  /** Requests are served from now on: each is timed from the end of the one before it, or of those whose answers left together. */
  beginTurn(): void {
    this.options.clock.nowUs();
    this.isServing = true;
  }

  /** What is kept leaves, as the loop is about to sleep. */
  endTurn(): void {
    this.isServing = false;
    this.count();
  }

  /** The answer to a write of `length` bytes that was taken at `startedUs`. */
  wrote(length: number, low: number, high: number, startedUs: number): void {
    const isKept = this.send(OUT_HEADER_BYTES + WRITE_OUT_BYTES, 0, low, high, length);
    if (isKept && this.keptWrites > 0 && startedUs === this.keptSinceUs) this.keptWrites++;
    else this.countApart(isKept, startedUs);
  }

  /** An error, negated, or 0. */
  ended(error: number, low: number, high: number): void {
    this.send(OUT_HEADER_BYTES, error, low, high, 0);
  }

  private countApart(isKept: boolean, startedUs: number): void {
    const { clock, counters } = this.options;
    this.count();
    if (isKept && this.isServing && startedUs === clock.lastUs) {
      this.keptWrites = 1;
      this.keptSinceUs = startedUs;
    } else counters.observe(HistogramSlot.write, clock.nowUs() - startedUs);
  }

  /** Answers that were kept leave: their writes have taken until now. */
  private count(): void {
    if (this.keptWrites === 0) return;
    const us = this.options.clock.nowUs() - this.keptSinceUs;
    this.options.counters.observe(HistogramSlot.write, us, this.keptWrites);
    this.keptWrites = 0;
  }

  /** True if the answer is kept. Those to what has written much are not: waking the client is little beside copying so much. */
  private send(bytes: number, error: number, low: number, high: number, length: number): boolean {
    const { channel, batching } = this.options;
    const isKept =
      batching.together > 1 &&
      length < KEPT_BYTES_MAX &&
      channel.post(this.make(this.nextPlace, bytes, error, low, high, length), bytes, this.nextPlace);
    if (!isKept) {
      const result = channel.send(this.make(AT_ONCE, bytes, error, low, high, length), bytes);
      this.options.sent(result, bytes, low, high);
      return false;
    }
    this.nextPlace = (this.nextPlace + 1) % PLACES;
    if (!batching.keep(length)) return true;
    channel.sendPosted();
    this.count();
    return false;
  }

  /** The address of an answer, made in `place`. */
  private make(place: number, bytes: number, error: number, low: number, high: number, length: number): number {
    const { words } = this;
    const at = place * WORDS;
    words[at] = bytes;
    words[at + 1] = error;
    words[at + 2] = low;
    words[at + 3] = high;
    words[at + 4] = length;
    words[at + 5] = 0;
    return this.memory.address + at * 4;
  }

  /** The answer in `place` was refused; so soon after, it is still there. */
  private postFailed(place: number, result: number): void {
    const at = place * WORDS;
    this.options.sent(result, this.words[at]!, this.words[at + 2]!, this.words[at + 3]!);
  }
}
