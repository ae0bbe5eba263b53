/**
 * Which frames the journal has. A frame is uncommitted, underway, or committed (`commit` in `frames.ts`); one that takes another's
 * place begins uncommitted. Each image keeps its uncommitted frames at hand, so that a flush need not look at all that is dirty,
 * until they would be more than that.
 */
import type { FrameNo, InodeSlot } from "../base/units.ts";
import { FrameState, type FrameTable, HOMED, NONE, UNDERWAY } from "./frames.ts";
import type { Image } from "./images.ts";

/** Entries of an image's queue that are always worth keeping. */
const QUEUE_SLACK = 256;

/** What this asks of the write cache. */
export interface CommitHolder {
  pin(frame: FrameNo): void;
  unpin(frame: FrameNo): void;
  /** Lists a dirty frame as a victim, if it may go home and is not listed. */
  offer(frame: FrameNo): void;
}

export class Commits {
  /** Newest frames of which the journal has nothing, and is not being given them. */
  uncommitted = 0;
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
    if (this.tracks) this.remember(image, frame);
  }

  /** It no longer is. */
  remove(frame: FrameNo): void {
    if (this.frames.commit(frame) === 0) this.uncommitted--;
  }

  private remember(image: Image, frame: FrameNo): void {
    const { uncommitted } = image;
    if (uncommitted.isOverfull) return;
    uncommitted.push(frame);
    if (uncommitted.count > 2 * image.blocks + QUEUE_SLACK) uncommitted.overflow();
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
    return end;
  }

  /** The commit of a frame that was taken ended: the journal has it under `mark`, or (0) has not. `image`: if it is still open. */
  end(image: Image | undefined, frame: FrameNo, mark: number): void {
    this.frames.setCommit(frame, mark);
    const state = this.frames.state(frame);
    if (state !== FrameState.doomed && image !== undefined) {
      if (mark === 0) this.add(image, frame);
      else if (this.holdsBack && state === FrameState.dirty) this.holder.offer(frame);
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
