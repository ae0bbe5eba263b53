/** Which blocks the next sweep of the background writer takes: what is too old, what need not be in the journal first, what is too much. */
import type { FrameNo } from "../base/units.ts";
import { NONE } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { ImageHome } from "./image-home.ts";
import type { WriterContext } from "./writer.ts";

/** Once cleaning, go on to this share of the start, so that sweeps are long. */
const CLEAN_TO = 0.9;

export interface ChoiceContext extends WriterContext {
  /** The ways home of all images in use. */
  readonly homes: ReadonlyMap<Image, ImageHome>;
  /** Blocks of home writes in flight. */
  inflightBlocks(): number;
  isDraining(): boolean;
  /** False if the frame is on its way, or must wait. */
  mayGo(image: Image, frame: FrameNo): boolean;
}

export class Choice {
  private readonly context: ChoiceContext;
  private cleaning = false;
  /** The last sweep was of extensions: they take turns with victims. */
  private wasOfExtensions = false;

  constructor(context: ChoiceContext) {
    this.context = context;
  }

  /** Fills `into` with blocks that are to go home now; how many they are. */
  choose(into: Int32Array): number {
    const old = this.chooseOld(into);
    if (old > 0) return old;
    const extensionsFirst = !this.wasOfExtensions;
    const first = extensionsFirst ? this.chooseExtensions(into) : this.chooseVictims(into);
    const count = first > 0 ? first : extensionsFirst ? this.chooseVictims(into) : this.chooseExtensions(into);
    this.wasOfExtensions = count > 0 && first > 0 === extensionsFirst;
    return count;
  }

  /** Blocks that are dirty and not on their way. */
  private get waiting(): number {
    const { cache } = this.context;
    return cache.blocks - cache.writtenBlocks - this.context.inflightBlocks();
  }

  private chooseVictims(into: Int32Array): number {
    const { policy, pressure } = this.context;
    const { waiting } = this;
    const isDraining = this.context.isDraining();
    if (waiting > pressure.start) this.cleaning = true;
    else if (waiting <= pressure.start * CLEAN_TO) this.cleaning = false;
    if (!this.cleaning && !isDraining) return 0;
    const surplus = isDraining ? waiting : Math.ceil(waiting - pressure.start * CLEAN_TO);
    return policy.victims(Math.min(Math.max(surplus, 1), into.length), into);
  }

  private chooseExtensions(into: Int32Array): number {
    const { commits } = this.context.cache;
    const least = this.context.extensionRun();
    let count = 0;
    for (const image of commits.extended) {
      const { uncommitted, extension } = image;
      const mayGo = this.context.homes.get(image)?.isPaused === false;
      if (mayGo && uncommitted.count - extension.next >= least) count = commits.chooseExtension(image, into, count);
    }
    return count;
  }

  /** Chooses what is dirty for longer than the age limit. */
  private chooseOld(into: Int32Array): number {
    const maxAge = this.context.maxAgeUs();
    if (maxAge === 0) return 0;
    const { frames } = this.context.cache;
    const now = this.context.nowUs();
    let count = 0;
    for (const { image, isPaused } of this.context.homes.values()) {
      if (isPaused) continue;
      for (let frame = image.dirty.head; frame !== NONE && count < into.length; frame = image.dirty.after(frame)) {
        if (frames.since(frame) + maxAge > now) break;
        if (!this.context.mayGo(image, frame)) continue;
        this.context.policy.removed(frame);
        into[count++] = frame;
      }
    }
    return count;
  }

  /** When the next dirty block reaches the age limit; Infinity if none will. */
  get nextAgeUs(): number {
    const maxAge = this.context.maxAgeUs();
    if (maxAge === 0) return Number.POSITIVE_INFINITY;
    const { frames } = this.context.cache;
    const now = this.context.nowUs();
    let next = Number.POSITIVE_INFINITY;
    for (const { image, isPaused } of this.context.homes.values()) {
      if (isPaused) continue;
      let frame = image.dirty.head;
      while (frame !== NONE && frames.since(frame) + maxAge <= now) frame = image.dirty.after(frame); // on its way, or waiting for an I/O to end
      if (frame !== NONE) next = Math.min(next, frames.since(frame));
    }
    return next + maxAge;
  }
}
