/** Flushes that wait for a transaction, in the order in which they came. */
import type { Image } from "../cache/images.ts";

export interface FlushWaiter {
  image: Image;
  /** Data is home, and only records are to be voided. */
  isHome: boolean;
  done: (result: number) => void;
}

export class FlushWaiters {
  private waiting: FlushWaiter[] = [];

  get length(): number {
    return this.waiting.length;
  }

  push(...waiters: FlushWaiter[]): void {
    this.waiting.push(...waiters);
  }

  takeAll(): FlushWaiter[] {
    return this.waiting.splice(0);
  }

  /**
   * Takes those of as many images as `most`, if they are open; `closed`: how many waited for one that is not, and have nothing to wait
   * for: they are answered.
   */
  take(most: number, isOpen: (image: Image) => boolean): { flushes: FlushWaiter[]; closed: number } {
    const images = new Set<Image>();
    const flushes: FlushWaiter[] = [];
    let closed = 0;
    for (const waiter of this.takeAll()) {
      const { image, done } = waiter;
      if (!isOpen(image)) {
        closed++;
        done(0);
      } else if (images.has(image) || images.size < most) {
        images.add(image);
        flushes.push(waiter);
      } else this.waiting.push(waiter);
    }
    return { flushes, closed };
  }
}
