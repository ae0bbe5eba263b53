import { describe, expect, it } from "vitest";
import { CivilTime, type Clock } from "../../src/base/clock.ts";

const SECOND_US = 1_000_000;

/** A clock that is set by hand; both run together until the civil one is set. */
class HandClock implements Clock {
  lastUs = 0;
  civilUs = 1_700_000_000 * SECOND_US;
  asked = 0;

  nowUs(): number {
    return this.lastUs;
  }
  civil(): { seconds: number; nanoseconds: number } {
    this.asked++;
    const seconds = Math.floor(this.civilUs / SECOND_US);
    return { seconds, nanoseconds: Math.floor((this.civilUs - seconds * SECOND_US) * 1000) };
  }
  pass(us: number): void {
    this.lastUs += us;
    this.civilUs += us;
  }
}

describe("civil time", () => {
  it("runs with the clock between two readings, which are a second apart", () => {
    const clock = new HandClock();
    const civil = new CivilTime(clock);
    for (let i = 0; i < 1000; i++) {
      expect(civil.lastUs()).toBe(clock.civilUs);
      clock.pass(2_500);
    }
    expect(clock.asked).toBe(3);
  });

  it.for([3600, -3600])("follows a step of %i s within a second", (stepS) => {
    const clock = new HandClock();
    const civil = new CivilTime(clock);
    civil.lastUs();
    clock.civilUs += stepS * SECOND_US;
    clock.pass(SECOND_US);
    expect(civil.lastUs()).toBe(clock.civilUs);
  });

  it("does not go back by what a reading is rounded", () => {
    const clock = new HandClock();
    const civil = new CivilTime(clock);
    const first = civil.lastUs();
    clock.civilUs -= 999;
    clock.pass(SECOND_US);
    expect(civil.lastUs()).toBe(first + SECOND_US);
  });
});
