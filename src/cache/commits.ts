/**
 * Which frames the journal has. A frame is uncommitted, underway, or committed (`commit` in `frames.ts`); one that takes another's
 * place begins uncommitted. Each image keeps its uncommitted frames at hand, so that a flush need not look at all that is dirty,
 * until they would be more than that.
 */
import type { FrameNo, InodeSlot } from "../base/units.ts";
import { common, NO_BLOCKS, type Stretch } from "./extension.ts";
import { FrameState, type FrameTable, HOMED, NONE, UNDERWAY } from "./frames.ts";
import type { Image } from "./images.ts";

/** Entries of an image's queue that are always worth keeping. */
const QUEUE_SLACK = 256;

/** What this asks of the write cache. */
export interface CommitHolder {
  pin(frame: FrameNo): void;
  unpin(frame: FrameNo): void;
  /** Lists a dirty frame as a victim, if it may go home and is not listed. */
  offer(image: Image, frame: FrameNo): void;
}

export class Commits {
  /** Newest frames of which the journal has nothing, and is not being given them. */
  uncommitted = 0;
  /** Of these, whole blocks that may go home all the same: of images whose `extension` is open. */
  extending = 0;
  /** Those images. */
  readonly extended = new Set<Image>();
  /** Images with so many blocks beyond their ends, or in holes, that it is worth while to open their extensions, and the number. */
  readonly grown = new Set<Image>();
  grownFrom = Number.POSITIVE_INFINITY;
  /** There is a journal. */
  tracks = false;
  /** Only committed frames may go home: the policy hears of a frame when it is. */
  holdsBack = false;
  /** How long home may become by now: with `holdsBack` no longer than the journal knows. */
  homeLimit: (image: Image) => number = () => Number.POSITIVE_INFINITY;
  /** Told of each frame that is durable at home, before it is freed. */
  onHomed: (image: Image, frame: FrameNo) => void = () => undefined;
  /** Told of each frame that was written home and has been replaced before a device flush vouched for it; `isFlushing`: one is under way that will. */
  onOutrun: (image: Image, frame: FrameNo, isFlushing: boolean) => void = () => undefined;
  private readonly frames: FrameTable;
  private readonly holder: CommitHolder;

  constructor(frames: FrameTable, holder: CommitHolder) {
    this.frames = frames;
    this.holder = holder;
  }

  /** `frame` is what a block of `image` has now. */
  add(image: Image, frame: FrameNo): void {
    if (this.frames.commit(frame) !== 0) return;
    this.uncommitted++;
    if (this.isAhead(image, frame)) this.countAhead(image, frame);
    if (this.tracks) this.remember(image, frame);
  }

  /** It no longer is. */
  remove(image: Image, frame: FrameNo): void {
    if (this.frames.commit(frame) !== 0) return;
    this.uncommitted--;
    if (!this.isAhead(image, frame)) return;
    image.extension.blocks--;
    if (image.extension.isOpen) this.extending--;
  }

  /** `frame` is a whole block of its extension. */
  private isAhead({ extension }: Image, frame: FrameNo): boolean {
    return extension.has(this.frames.block(frame)) && this.frames.isFull(frame);
  }

  private countAhead(image: Image, frame: FrameNo): void {
    const { extension } = image;
    extension.came(this.frames.block(frame));
    if (extension.isOpen) this.extending++;
    else if (extension.blocks >= this.grownFrom) this.grown.add(image);
  }

  /** All that was uncommitted of `image` was taken for a commit that speaks of its end as it is now. */
  private beginExtension(image: Image): void {
    const { extension } = image;
    if (extension.isOpen) this.extending -= extension.blocks;
    extension.begin(image.blocksBefore);
    this.grown.delete(image);
  }

  /** A commit begins that speaks of all but `hole`: only what neither it nor the last one speaks of may go home meanwhile. */
  narrowExtension({ extension }: Image, hole: Stretch): void {
    extension.hole = common(extension.hole, hole);
  }

  /** What comes beyond its end, and into `hole`, may go home from now on, unless what has come is not at hand. */
  openExtension(image: Image, hole: Stretch): void {
    const { extension } = image;
    if (image.uncommitted.isOverfull) return;
    if (extension.isOpen) this.extending -= extension.blocks;
    extension.isOpen = true;
    extension.hole = hole;
    extension.next = 0;
    this.grown.delete(image);
    this.extended.add(image);
    this.extending += this.recount(image);
  }

  /** It may no longer; what is on its way goes on. */
  closeExtension(image: Image): void {
    const { extension } = image;
    this.grown.delete(image);
    if (!extension.isOpen) return;
    extension.isOpen = false;
    extension.hole = NO_BLOCKS;
    this.extended.delete(image);
    this.extending -= extension.blocks;
    this.recount(image);
  }

  /** Its hole is another one. */
  private recount(image: Image): number {
    const ahead = new Set<FrameNo>();
    this.forEach(image, (frame) => {
      if (this.isAhead(image, frame)) ahead.add(frame);
    });
    image.extension.blocks = ahead.size;
    return ahead.size;
  }

  /** `frame` is dirty again, or no longer kept from going home by an older one: if it is for `chooseExtension`, it is so once more. */
  returned(image: Image, frame: FrameNo): void {
    if (image.extension.isOpen && this.frames.commit(frame) === 0 && this.isAhead(image, frame))
      this.remember(image, frame);
  }

  /** Puts dirty frames of the open extension of `image` into `out` from `at` on while there is room; the place behind the last. */
  chooseExtension({ extension, uncommitted, slot }: Image, out: Int32Array, at: number): number {
    let end = at;
    for (; extension.next < uncommitted.count && end < out.length; extension.next++) {
      const frame = uncommitted.at(extension.next);
      const isDirty = this.is(slot, frame) && this.frames.state(frame) === FrameState.dirty;
      if (isDirty && extension.has(this.frames.block(frame)) && this.frames.isFull(frame)) out[end++] = frame;
    }
    return end;
  }

  private remember(image: Image, frame: FrameNo): void {
    const { uncommitted } = image;
    if (uncommitted.isOverfull) return;
    uncommitted.push(frame);
    if (uncommitted.count === this.grownFrom && !image.extension.isOpen) this.grown.add(image); // perhaps it fills a hole
    if (uncommitted.count <= 2 * image.blocks + QUEUE_SLACK) return;
    if (image.extension.isOpen) this.compact(image);
    else uncommitted.overflow();
  }

  /** Lets go of what is no longer uncommitted: of an extension that goes home most is not. */
  private compact({ slot, uncommitted, extension }: Image): void {
    const seen = new Set<FrameNo>();
    let chosen = 0;
    uncommitted.retain((frame, index) => {
      const isKept = this.is(slot, frame) && !seen.has(frame); // a number may come again: the last counts
      if (isKept) seen.add(frame);
      if (isKept && index < extension.next) chosen++;
      return isKept;
    });
    extension.next = chosen;
  }

  /** True if `frame` is the newest of a block of the image at `slot`, and uncommitted. */
  private is(slot: InodeSlot, frame: FrameNo): boolean {
    const { frames } = this;
    const state = frames.state(frame);
    if (state === FrameState.free || state === FrameState.doomed) return false;
    return frames.image(frame) === slot && frames.commit(frame) === 0;
  }

  /** False for a dirty frame that must be in the journal first, and is not. */
  mayGoHome(frame: FrameNo): boolean {
    if (!this.holdsBack) return true;
    const mark = this.frames.commit(frame);
    return mark !== 0 && mark !== UNDERWAY;
  }

  /** The same, but true for what the journal need not have because it lies in an open extension: no victim, it goes by itself. */
  mayGo(image: Image, frame: FrameNo): boolean {
    if (this.mayGoHome(frame)) return true;
    return image.extension.isOpen && this.frames.commit(frame) === 0 && this.isAhead(image, frame);
  }

  /** Calls `each` with every uncommitted frame of `image`, perhaps more than once. */
  forEach(image: Image, each: (frame: FrameNo) => void): void {
    const queue = image.uncommitted;
    for (let i = 0; i < queue.count; i++) if (this.is(image.slot, queue.at(i))) each(queue.at(i));
    if (queue.isOverfull) forEachFrame(image, (frame) => this.is(image.slot, frame) && each(frame));
  }

  /** Puts the uncommitted frames of `image` into `out` from `at` on, pinned and underway; the place behind the last. */
  take(image: Image, out: Int32Array, at: number): number {
    let end = at;
    this.forEach(image, (frame) => {
      this.frames.setCommit(frame, UNDERWAY);
      this.uncommitted--;
      this.holder.pin(frame);
      out[end++] = frame;
    });
    image.uncommitted.clear();
    this.beginExtension(image);
    return end;
  }

  /** The commit of a frame that was taken ended: the journal has it under `mark`, or (0) has not. `image`: if it is still open. */
  end(image: Image | undefined, frame: FrameNo, mark: number): void {
    this.frames.setCommit(frame, mark);
    const state = this.frames.state(frame);
    if (state !== FrameState.doomed && image !== undefined) {
      if (mark === 0) this.add(image, frame);
      else if (this.holdsBack && state === FrameState.dirty) this.holder.offer(image, frame);
    }
    this.holder.unpin(frame);
  }

  /** What the journal has of `blocks` is to be committed once more. */
  again(image: Image, blocks: ReadonlySet<number>): void {
    forEachFrame(image, (frame) => {
      const { frames } = this;
      const isCommitted = frames.commit(frame) !== 0 && frames.commit(frame) !== UNDERWAY;
      if (!isCommitted || frames.state(frame) === FrameState.doomed || !blocks.has(frames.block(frame))) return;
      frames.setCommit(frame, 0);
      this.add(image, frame);
    });
  }

  /** `frame` is durable at home. */
  homed(image: Image, frame: FrameNo): void {
    this.onHomed(image, frame); // a commit that is underway is not on stable media: home is newer than an earlier one's record
    if (this.frames.commit(frame) === UNDERWAY) this.frames.setCommit(frame, HOMED);
  }
}

function forEachFrame({ dirty, written, flushing }: Image, each: (frame: FrameNo) => void): void {
  for (const list of [dirty, written, flushing])
    for (let frame = list.head; frame !== NONE; frame = list.after(frame)) each(frame);
}
