/** The rate cap of background home writes, and the measured rate at which dirty data goes home. */
import type { Timers } from "../base/timers.ts";

const WINDOW_US = 500_000;

export class Pacer {
  private limit = 0;
  private nextUs = 0;
  private windowStart = 0;
  private windowBytes = 0;
  private rate = 0;
  private wakeSet = false;
  private readonly context: { nowUs(): number; readonly timers: Timers };

  constructor(context: { nowUs(): number; readonly timers: Timers }) {
    this.context = context;
  }

  /** Bytes a second that background home writes may take; 0: no cap. */
  get rateLimit(): number {
    return this.limit;
  }

  set rateLimit(bytesPerSecond: number) {
    this.limit = bytesPerSecond;
    this.nextUs = 0; // what the old limit put off, the new one need not
  }

  /** True if a background write may begin now; else a timer wakes the loop when it may. */
  mayWrite(): boolean {
    if (this.rateLimit === 0) return true;
    const now = this.context.nowUs();
    if (now >= this.nextUs) return true;
    if (!this.wakeSet) {
      this.wakeSet = true;
      this.context.timers.at(this.nextUs, () => {
        this.wakeSet = false;
      });
    }
    return false;
  }

  /** A home write took `bytes`; those that a flush waits for do not count against the cap. */
  wrote(bytes: number, urgent: boolean): void {
    const now = this.context.nowUs();
    if (this.rateLimit > 0 && !urgent) this.nextUs = Math.max(this.nextUs, now) + (bytes / this.rateLimit) * 1e6;
    if (now - this.windowStart > WINDOW_US) {
      const seconds = (now - this.windowStart) / 1e6;
      // A window that was mostly idle says nothing of the device.
      if (seconds < 2)
        this.rate = this.rate === 0 ? this.windowBytes / seconds : 0.7 * this.rate + 0.3 * (this.windowBytes / seconds);
      this.windowStart = now;
      this.windowBytes = 0;
    }
    this.windowBytes += bytes;
  }

  /** Bytes a second that went home lately while something did; 0 before the first measurement. */
  get bytesPerSecond(): number {
    return Math.round(this.rate);
  }
}
