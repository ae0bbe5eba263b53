/** Simulated time, and what is to happen in it. */
import type { Clock } from "../../src/base/clock.ts";
import type { Random } from "./random.ts";

/** A promise was broken: the simulator's finding. */
export class Violation extends Error {
  override name = "Violation";
}

/** Throws a Violation unless `condition` holds. */
export function must(condition: boolean, what: () => string): void {
  if (!condition) throw new Violation(what());
}

interface Happening {
  atUs: number;
  run: () => void;
}

const BIRTH_S = 1_700_000_000;

export class World implements Clock {
  readonly random: Random;
  /** What happened, newest last, when it is kept. */
  readonly history: string[] = [];
  /** How many things have. */
  happened = 0;
  /** How far somebody has set the civil clock ahead, seconds. */
  civilAheadS = 0;
  private us = 1_000_000;
  /** The soonest last. */
  private readonly happenings: Happening[] = [];
  private readonly keepsHistory: boolean;

  constructor(random: Random, keepsHistory: boolean) {
    this.random = random;
    this.keepsHistory = keepsHistory;
  }

  nowUs(): number {
    return this.us;
  }

  get lastUs(): number {
    return this.us;
  }

  civil(): { seconds: number; nanoseconds: number } {
    const seconds = Math.floor(this.us / 1e6);
    return { seconds: BIRTH_S + this.civilAheadS + seconds, nanoseconds: Math.floor((this.us - seconds * 1e6) * 1e3) };
  }

  note(what: () => string): void {
    if (this.keepsHistory) this.history.push(`${(this.us / 1e3).toFixed(3).padStart(12)} ms  ${what()}`);
  }

  /** Runs `run` in `delayUs`. What is due at one instant happens in any order. */
  after(delayUs: number, run: () => void): void {
    const atUs = this.us + delayUs;
    let index = this.happenings.length;
    while (index > 0 && this.happenings[index - 1]!.atUs < atUs) index--;
    this.happenings.splice(index, 0, { atUs, run });
  }

  get nextUs(): number {
    return this.happenings.at(-1)?.atUs ?? Number.POSITIVE_INFINITY;
  }

  /** Lets time pass until the next happening or `limitUs`, whichever comes first. True if something happened. */
  pass(limitUs: number): boolean {
    const next = this.happenings.at(-1);
    if (next === undefined || next.atUs > limitUs) {
      this.us = Math.max(this.us, limitUs);
      return false;
    }
    this.happenings.pop();
    this.us = Math.max(this.us, next.atUs);
    this.happened++;
    next.run();
    return true;
  }
}
