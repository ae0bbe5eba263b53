/** Taking everything home: once, telling of errors, or for as long as it takes. */
import type { Ticker } from "../base/clock.ts";
import type { Image } from "../cache/images.ts";
import type { Writer } from "../writeback/writer.ts";

export interface DrainContext {
  readonly writer: Writer;
  readonly ticker: Ticker;
  /** Images in use. */
  images(): Iterable<Image>;
  /** True if all of the image, its size and its mtime are home. */
  isSettled(image: Image): boolean;
}

export class Drain {
  private readonly context: DrainContext;
  private waiters: (() => void)[] = [];

  constructor(context: DrainContext) {
    this.context = context;
  }

  /** Takes home what there is now: `done` gets 0, or the first error that a home operation meets meanwhile. */
  once(done: (result: number) => void): void {
    const { writer, ticker } = this.context;
    for (const image of this.context.images()) writer.settle(image);
    const images = [...this.context.images()].filter((image) => !this.isDurable(image));
    let left = images.length;
    let first = 0;
    if (left === 0) done(0);
    for (const image of images) {
      writer.flush(image, ticker.tick(), false, (outcome) => {
        writer.settle(image);
        first ||= outcome;
        if (--left === 0) done(first);
      });
    }
  }

  /** Goes on until nothing is dirty, whatever errors come; then `done`. */
  forGood(done: () => void): void {
    this.context.writer.draining = true;
    this.waiters.push(done);
  }

  /** Called once a turn of the loop. */
  pump(): void {
    const { writer } = this.context;
    if (this.waiters.length === 0 || !writer.isClean) return;
    for (const image of this.context.images()) {
      writer.settle(image);
      if (this.isDurable(image)) continue;
      const home = writer.home(image);
      if (!home.flushActive && !home.isBackingOff && !image.gated) home.flushDevice(false);
      return;
    }
    for (const done of this.waiters.splice(0)) done();
  }

  private isDurable(image: Image): boolean {
    const { context } = this;
    if (context.writer.home(image).flushActive) return false; // it may fail yet
    return context.isSettled(image) && !image.unflushed;
  }
}
