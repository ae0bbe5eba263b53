import { performance } from "node:perf_hooks"; // the global of that name is a getter, looked up at every use
import { asInstant, type Instant } from "./units.ts";

/** Where time comes from. The simulator brings its own. */
export interface Clock {
  /** Microseconds since some fixed point of this boot; never goes back, shared by all processes of the host. */
  nowUs(): number;
  /** What `nowUs` last said: for what needs no better, at no cost. */
  readonly lastUs: number;
  /** Seconds and nanoseconds of civil time, for file timestamps only. */
  civil(): { seconds: number; nanoseconds: number };
}

/** CLOCK_MONOTONIC, and CLOCK_REALTIME for `civil`. The only place that reads the time. */
export function systemClock(): Clock & { lastUs: number } {
  const originUs = Number(process.hrtime.bigint() / 1000n) - performance.now() * 1000;
  return {
    lastUs: originUs,
    nowUs() {
      this.lastUs = originUs + performance.now() * 1000;
      return this.lastUs;
    },
    civil: () => {
      const now = performance.timeOrigin + performance.now();
      const drift = Date.now() - now; // the civil clock may have been set since the start
      const ms = Math.abs(drift) > 1 ? Date.now() : now;
      const seconds = Math.floor(ms / 1000);
      return { seconds, nanoseconds: Math.floor((ms - seconds * 1000) * 1e6) };
    },
  };
}

const DATE_MS_MAX = 8.64e15;

/** `ms` since 1970 for people, also where a Date has no such day. */
export const dateText = (ms: number): string =>
  Math.abs(ms) <= DATE_MS_MAX ? new Date(ms).toISOString() : `${ms / 1000} s after 1970`;

/** How long the civil clock is taken to run beside the other, microseconds. */
const CIVIL_RENEWED_US = 1_000_000;
/** Off by less, it is left alone, microseconds: a reading may be rounded to milliseconds, and times would go back by that. */
const CIVIL_SLACK_US = 2_000;

/** Civil time for what needs it often. It is asked for once a second: it may be set, and it alone runs on in a suspended host. */
export class CivilTime {
  private offsetUs = Number.POSITIVE_INFINITY;
  private renewAtUs = Number.NEGATIVE_INFINITY;

  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** The civil time of the clock's last reading, microseconds. */
  lastUs(): number {
    const { clock } = this;
    if (clock.lastUs >= this.renewAtUs) this.renew();
    return clock.lastUs + this.offsetUs;
  }

  private renew(): void {
    const now = this.clock.nowUs();
    const { seconds, nanoseconds } = this.clock.civil();
    const offsetUs = seconds * 1e6 + nanoseconds / 1e3 - now;
    if (Math.abs(offsetUs - this.offsetUs) >= CIVIL_SLACK_US) this.offsetUs = offsetUs;
    this.renewAtUs = now + CIVIL_RENEWED_US;
  }
}

/** Hands out instants that are the clock's time and yet strictly increasing, so that they order events too. */
export class Ticker {
  private last = 0;

  private readonly clock: Clock;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  /** The clock's last reading, or just after the tick before. */
  tick(): Instant {
    const now = this.clock.lastUs;
    this.last = now > this.last ? now : this.last + 1 / 1024;
    return asInstant(this.last);
  }

  /** Makes every later tick come after `instant`: a slab may hold ticks of an earlier engine. */
  startAfter(instant: Instant): void {
    if (instant > this.last) this.last = instant;
  }
}
