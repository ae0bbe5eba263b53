/** Callbacks to run at instants, for the engine's loop: it asks when the next is due, and runs those that are. */
export interface Timer {
  atUs: number;
  run: () => void;
}

export class Timers {
  /** Sorted, the soonest last. */
  private readonly timers: Timer[] = [];

  /** Runs `run` once the clock shows `atUs` or later. */
  at(atUs: number, run: () => void): Timer {
    const timer = { atUs, run };
    let low = 0;
    let high = this.timers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.timers[middle]!.atUs > atUs) low = middle + 1;
      else high = middle;
    }
    this.timers.splice(low, 0, timer);
    return timer;
  }

  cancel(timer: Timer): void {
    const index = this.timers.indexOf(timer);
    if (index >= 0) this.timers.splice(index, 1);
  }

  /** When the next is due, microseconds; Infinity without any. */
  get nextUs(): number {
    return this.timers.at(-1)?.atUs ?? Number.POSITIVE_INFINITY;
  }

  /** Runs all that are due; those that they set run no sooner than the next call. */
  runDue(nowUs: number): void {
    if (this.nextUs > nowUs) return;
    const due: Timer[] = [];
    while (this.nextUs <= nowUs) due.push(this.timers.pop()!);
    for (const timer of due) timer.run();
  }
}
