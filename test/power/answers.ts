/**
 * When each step was answered, and how far the log of the device was then: what a mode promises without a flush is measured by
 * it. In the file of the notes, beside theirs. Times are of the monotonic clock, which all processes share, in milliseconds.
 *
 *   A number position issued ms   step `number` was answered; `issued` is the last step that had been issued by then
 *   P position ms                 at `ms` the log had fewer than `position` flushed entries; when it was next looked at, so many
 *   K ms                          the engine was killed
 */
import { readFileSync, writeSync } from "node:fs";
import { flushedEntries } from "./log.ts";

/** How often the log is looked at between answers. */
const LOOK_EACH_MS = 5;
/** `ordered` may lose so much more than its window: a commit takes its time too. */
const AGE_SLACK_MS = 1000;

const nowMs = (): number => Number(process.hrtime.bigint() / 1_000_000n);

export const killLine = (): string => `K ${nowMs()}\n`;

/** Writes them. */
export class AnswerNotes {
  private readonly notes: number;
  private readonly log: number;
  private position = 0;
  private lookedMs = nowMs();

  /** Descriptors of both files. */
  constructor(notes: number, log: number) {
    this.notes = notes;
    this.log = log;
  }

  /** Looks at the log until the process ends, or `stop` is called. */
  watch(): { stop(): void } {
    const timer = setInterval(() => this.look(), LOOK_EACH_MS).unref();
    return { stop: () => clearInterval(timer) };
  }

  private look(): void {
    const ms = nowMs(); // before the log is read: at this time it had no more entries than are seen
    const position = flushedEntries(this.log);
    if (position > this.position) writeSync(this.notes, `P ${position} ${this.lookedMs}\n`);
    this.position = position;
    this.lookedMs = ms;
  }

  answered(number: number, issued: number): void {
    const ms = nowMs();
    this.look();
    writeSync(this.notes, `A ${number} ${this.position} ${issued} ${ms}\n`);
  }
}

interface Answer {
  number: number;
  position: number;
  issued: number;
  ms: number;
}

type Which = (number: number) => boolean;

/** Reads them. */
export class Answers {
  private readonly all: Answer[] = [];
  private readonly looks: { position: number; ms: number }[] = [];
  private readonly kills: number[] = [];
  private readonly byNumber = new Map<number, Answer>();

  static read(path: string): Answers {
    return Answers.parse(readFileSync(path, "utf8"));
  }

  static parse(text: string): Answers {
    const answers = new Answers();
    // A line that a kill cut short tells nothing.
    for (const line of text.split("\n").slice(0, -1)) answers.take(line);
    return answers;
  }

  private take(line: string): void {
    const [kind, ...rest] = line.split(" ");
    const [a, b, issued, ms] = rest.map(Number) as [number, number, number, number];
    if (kind === "P") this.looks.push({ position: a, ms: b });
    else if (kind === "K") this.kills.push(a);
    else if (kind === "A") {
      const answer = { number: a, position: b, issued, ms };
      this.all.push(answer);
      this.byNumber.set(a, answer);
    }
  }

  get count(): number {
    return this.all.length;
  }

  /** The last step that had been issued when step `number` was answered; without end if it never was. */
  issuedBy(number: number): number {
    return this.byNumber.get(number)?.issued ?? Number.POSITIVE_INFINITY;
  }

  /** The last of `which` steps that were answered when the log had at most `flushed` flushed entries; 0: none. */
  answeredAt(flushed: number, which: Which): number {
    return last(this.all, ({ number, position }) => position <= flushed && which(number));
  }

  /**
   * The last of `which` steps that `ordered` may not lose in a cut with `flushed` flushed entries; 0: none.
   *
   * Such a cut can come as late as the next flush: nothing of the writes before that need be there.
   */
  keptBy(flushed: number, windowMs: number, which: Which): number {
    const ms = this.cutMs(flushed) - this.ageMax(flushed, windowMs);
    return last(this.all, (answer) => answer.ms < ms && which(answer.number));
  }

  /** How old at a cut an image is that shows all steps up to `number`, and no later one of `which`. Milliseconds. */
  ageAt(flushed: number, number: number, which: Which): number {
    const lost = this.all.find((answer) => answer.number > number && which(answer.number));
    return lost === undefined ? 0 : Math.max(0, this.cutMs(flushed) - lost.ms);
  }

  private cutMs(flushed: number): number {
    const next = this.looks.find(({ position }) => position > flushed);
    return next?.ms ?? Math.max(...this.all.map(({ ms }) => ms), ...this.looks.map(({ ms }) => ms));
  }

  /** Time without an engine does not count: nothing is answered, and nobody can commit. */
  private ageMax(flushed: number, windowMs: number): number {
    const cutMs = this.cutMs(flushed);
    const most = windowMs + AGE_SLACK_MS;
    const outages = this.kills.map((from) => ({ from, to: Math.min(cutMs, this.backMs(from)) }));
    const recent = outages.filter(({ from, to }) => from < cutMs && to > cutMs - most);
    return recent.reduce((sum, { from, to }) => sum + to - from, most);
  }

  /** When an engine surely answered again: the first answer after the kill may be of the dead one. */
  private backMs(killedMs: number): number {
    return this.all.filter(({ ms }) => ms >= killedMs)[1]?.ms ?? Number.POSITIVE_INFINITY;
  }
}

const last = (answers: readonly Answer[], holds: (answer: Answer) => boolean): number =>
  answers.filter(holds).reduce((most, { number }) => Math.max(most, number), 0);
