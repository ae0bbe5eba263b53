/** Taking everything home: once, telling of errors, or for as long as it takes. */
import type { Image } from "../cache/images.ts";
import type { Writer } from "../writeback/writer.ts";

export interface DrainContext {
  readonly writer: Writer;
  /** Images in use. */
  images(): Iterable<Image>;
  /** Takes all of `image` home durably, past its journal: `done` gets 0 when a power cut changes nothing of it, or an error. */
  flushHome(image: Image, done: (result: number) => void): void;
  /** The journal has of `image` what is older than home. */
  isOutrun(image: Image): boolean;
  /** `done` gets 0 when no recovery looks into the journal if that has failed, or a negated error number. */
  whenVoid(done: (result: number) => void): void;
  /** Takes into use the images of which the journal has something; 0 or a negated error number. */
  openLive(): number;
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
    const { writer } = this.context;
    let first = this.context.openLive();
    for (const image of this.context.images()) writer.settle(image);
    const images = [...this.context.images()].filter((image) => !this.isDurable(image) || this.context.isOutrun(image));
    // A journal that has failed may have older bytes of an image that nobody has opened since: it need not name it.
    const end = (): void => this.context.whenVoid((outcome) => done(first || outcome));
    let left = images.length;
    if (left === 0) end();
    for (const image of images) {
      this.context.flushHome(image, (outcome) => {
        writer.settle(image);
        first ||= outcome;
        if (--left === 0) end();
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
      if (!writer.isOpen(image) || this.isDurable(image)) continue; // told that it is clean, somebody closed it
      const home = writer.home(image);
      if (!home.flushActive && !home.isBackingOff && !image.isHomeShut) home.flushDevice(false);
      return;
    }
    for (const done of this.waiters.splice(0)) done();
  }

  private isDurable(image: Image): boolean {
    const { context } = this;
    if (context.writer.isFlushing(image)) return false; // it may fail yet
    return context.isSettled(image) && !image.unflushed;
  }
}
