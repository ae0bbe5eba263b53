/** The images whose backing files are open. Those not opened for long are closed when they are idle. */
import { LRUCache } from "lru-cache";
import type { Clock } from "../base/clock.ts";
import { OPEN_FILES_MAX } from "../base/limits.ts";
import type { Timers } from "../base/timers.ts";
import type { InodeSlot } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import type { Io } from "../sys/io.ts";

/** How soon it is looked again whether an image that is to be closed has fallen idle, microseconds. */
const IDLE_LOOK_US = 1_000_000;

export interface OpenImagesContext {
  readonly io: Io;
  readonly clock: Clock;
  readonly timers: Timers;
  /** Opens the backing file of `slot`; a negated error number if that fails. */
  make(slot: InodeSlot): Image | number;
  /** Runs `clean` when nothing of `image` is dirty. */
  whenClean(image: Image, clean: () => void): void;
  /** False while the file must stay open until it was flushed. */
  mayClose(image: Image): boolean;
  /** Flushes the file of `image`. */
  flush(image: Image): void;
  /** `image` is out of the books, and its descriptors go. */
  closed(image: Image): void;
}

export class OpenImages {
  private readonly context: OpenImagesContext;
  private readonly images = new Map<InodeSlot, Image>();
  private readonly recent: LRUCache<InodeSlot, Image>;

  constructor(context: OpenImagesContext) {
    this.context = context;
    this.recent = new LRUCache<InodeSlot, Image>({
      max: OPEN_FILES_MAX,
      disposeAfter: (image, _slot, reason) => {
        if (reason === "evict") this.closeWhenIdle(image);
      },
    });
  }

  /** The image at `slot` if it is open. */
  get(slot: InodeSlot): Image | undefined {
    return this.images.get(slot);
  }

  values(): IterableIterator<Image> {
    return this.images.values();
  }

  /** The image at `slot`, opened if need be; or a negated error number. */
  open(slot: InodeSlot): Image | number {
    const known = this.images.get(slot);
    if (known !== undefined) return known;
    const image = this.context.make(slot);
    if (typeof image === "number") return image;
    this.images.set(slot, image);
    this.recent.set(slot, image);
    return image;
  }

  /** Nothing of `image` is dirty or under way, or all of it is dropped. */
  close(image: Image): void {
    this.images.delete(image.slot);
    this.recent.delete(image.slot);
    this.context.closed(image);
    for (const fd of image.file.descriptors) this.context.io.close(fd, () => undefined);
  }

  private closeWhenIdle(image: Image): void {
    const { clock, timers } = this.context;
    if (this.images.get(image.slot) !== image) return; // closed meanwhile, for another reason
    this.context.whenClean(image, () => {
      if (this.images.get(image.slot) !== image || this.recent.has(image.slot)) return;
      const isIdle = image.homeReads === 0 && image.holds === 0 && !image.gated;
      if (isIdle && this.context.mayClose(image)) {
        this.close(image);
        return;
      }
      if (isIdle) this.context.flush(image);
      timers.at(clock.lastUs + IDLE_LOOK_US, () => this.closeWhenIdle(image));
    });
  }
}
