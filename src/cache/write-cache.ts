/**
 * The write cache: memory only, no I/O, no waiting. Publishes landed frames as the newest bytes of their blocks, finds
 * them, drops them, and follows them through their states.
 *
 * Invariants: a published frame's bytes never change (an overwrite takes a new frame); the index holds exactly the newest
 * frame of each block that is not durable at home; a frame is freed only when it was superseded, dropped or is durable at
 * home, and nothing has it pinned. The store of a new frame's state comes before the store that ends the old one: whoever
 * finds two after a kill takes the later stamp.
 */
import { assert } from "../base/assert.ts";
import { asBlock, BLOCK_BYTES, type BlockNo, type FrameNo, type InodeSlot, type Instant } from "../base/units.ts";
import { Counter, type Counters } from "../stats/counters.ts";
import type { FrameAllocator } from "./allocator.ts";
import { Commits } from "./commits.ts";
import { FrameState, type FrameTable, NONE } from "./frames.ts";
import type { Image } from "./images.ts";
import { BlockIndex } from "./index.ts";
import type { DirtyObserver } from "./observer.ts";
import type { Slab } from "./slab.ts";

export class WriteCache {
  readonly frames: FrameTable;
  readonly allocator: FrameAllocator;
  private readonly slab: Slab;
  private readonly index: BlockIndex;
  private readonly observer: DirtyObserver;
  private readonly counters: Counters;
  /** Blocks that are not durable at home. */
  blocks = 0;
  /** Of those, the ones that are written home and wait for a device flush. */
  writtenBlocks = 0;
  readonly commits: Commits;

  constructor(slab: Slab, frames: FrameTable, allocator: FrameAllocator, observer: DirtyObserver, counters: Counters) {
    this.slab = slab;
    this.frames = frames;
    this.commits = new Commits(frames, this);
    this.allocator = allocator;
    this.index = new BlockIndex(frames);
    this.observer = observer;
    this.counters = counters;
  }

  /** The newest frame of `block`, or NONE if home has the newest bytes. */
  find(image: InodeSlot, block: BlockNo): FrameNo {
    return this.index.find(image, block);
  }

  /**
   * The first block of which this write's bytes cannot be joined with the frame that is there, or -1: such a block must be
   * completed from home first (`complete`). Only the first and the last block of a write can be partial.
   */
  blockToComplete(image: InodeSlot, offset: number, length: number): BlockNo | -1 {
    const end = offset + length;
    const first = Math.floor(offset / BLOCK_BYTES);
    const last = Math.floor((end - 1) / BLOCK_BYTES);
    const low = offset - first * BLOCK_BYTES;
    const high = end - last * BLOCK_BYTES;
    if (low === 0 && high === BLOCK_BYTES) return -1;
    if (this.clashes(image, asBlock(first), low, first === last ? high : BLOCK_BYTES)) return asBlock(first);
    if (last !== first && this.clashes(image, asBlock(last), 0, high)) return asBlock(last);
    return -1;
  }

  private clashes(image: InodeSlot, block: BlockNo, low: number, high: number): boolean {
    if (low === 0 && high === BLOCK_BYTES) return false;
    const old = this.index.find(image, block);
    return old !== NONE && !this.frames.canJoin(old, low, high);
  }

  /**
   * Makes `length` bytes at `offset` the newest of `image`. `taken` holds one unpublished frame a block, each with its
   * bytes where they lie in the block. Blocks that `blockToComplete` names must be `completed`: the rest of their frame in
   * `taken` holds what is home.
   */
  publish(
    image: Image,
    offset: number,
    length: number,
    taken: Int32Array,
    stamp: Instant,
    completed?: ReadonlySet<number>,
  ): void {
    const { frames } = this;
    const end = offset + length;
    let block = Math.floor(offset / BLOCK_BYTES);
    let low = offset - block * BLOCK_BYTES;
    for (let i = 0; block * BLOCK_BYTES < end; i++, block++) {
      const frame = taken[i] as FrameNo;
      const high = Math.min(end - block * BLOCK_BYTES, BLOCK_BYTES);
      const old = this.index.find(image.slot, block as BlockNo);
      frames.describe(frame, image.slot, block as BlockNo, stamp, low, high);
      if (old === NONE) this.admit(image, frame, stamp);
      else this.supersede(image, old, frame, low, high, true, completed?.has(block) ?? false);
      low = 0;
    }
  }

  private admit(image: Image, frame: FrameNo, stamp: Instant): void {
    this.frames.setSince(frame, stamp);
    this.frames.setState(frame, FrameState.dirty);
    this.index.insert(frame);
    image.dirty.append(frame);
    this.blocks++;
    this.addContent(image, frame);
  }

  /** `frame` is what a block has now. */
  private addContent(image: Image, frame: FrameNo): void {
    this.commits.add(image, frame);
    if (this.commits.mayGoHome(frame)) this.observer.admitted(frame);
  }

  /** Puts `frame` in the place of `old`; [low, high) of it is new, the rest of `old`'s valid bytes are taken over. */
  private supersede(
    image: Image,
    old: FrameNo,
    frame: FrameNo,
    low: number,
    high: number,
    counted: boolean,
    completed: boolean,
  ): void {
    const { frames, observer } = this;
    if (low !== 0 || high !== BLOCK_BYTES) this.takeOver(old, frame, low, high, completed);
    const state = frames.state(old);
    if (state === FrameState.dirty) {
      frames.setSince(frame, frames.since(old));
      frames.setState(frame, FrameState.dirty);
      this.index.replace(old, frame);
      image.dirty.replace(old, frame);
      this.commits.remove(image, old);
      const wasListed = observer.isListed(old); // if it was not, it had been chosen to go home, and is hot again
      this.commits.add(image, frame);
      if (!this.commits.mayGoHome(frame)) observer.removed(old);
      else if (wasListed) observer.rewritten(old, frame);
      else observer.admitted(frame);
      if (counted) this.counters.at[Counter.absorbedRewriteBlocks]! += 1;
      this.retire(old);
      return;
    }
    frames.setSince(frame, frames.stamp(frame));
    frames.setState(frame, FrameState.dirty);
    this.index.replace(old, frame);
    this.commits.remove(image, old);
    if (state === FrameState.inflight) {
      frames.setState(old, FrameState.doomed); // stays in image.dirty until its write has ended: a flush waits for it
    } else {
      this.commits.onOutrun(image, old, state === FrameState.flushing);
      this.listOf(image, old).remove(old);
      this.writtenBlocks--;
      this.counters.at[Counter.writebackBlocks]! += 1;
      this.retire(old);
    }
    image.dirty.append(frame);
    this.addContent(image, frame);
    if (!counted) this.counters.at[Counter.writeBlocks]! += 1; // the old bytes were counted home, these will be again
  }

  private listOf(image: Image, frame: FrameNo): Image["written"] {
    return this.frames.state(frame) === FrameState.flushing ? image.flushing : image.written;
  }

  private takeOver(old: FrameNo, frame: FrameNo, low: number, high: number, completed: boolean): void {
    this.frames.forValid(old, (from, to) => {
      if (from < low) this.slab.copy(old, frame, from, Math.min(to, low));
      if (to > high) this.slab.copy(old, frame, Math.max(from, high), to);
    });
    if (completed) this.frames.setRange(frame, 0, BLOCK_BYTES);
    else this.frames.setJoined(frame, old, low, high);
  }

  /** Copies the valid bytes of `frame` to `target`, which stands for the whole block. */
  copyValid(frame: FrameNo, target: Uint8Array): void {
    const view = this.slab.frameView(frame);
    const at = this.slab.frameIndex(frame);
    this.frames.forValid(frame, (low, high) => target.set(view.subarray(at + low, at + high), low));
  }

  /**
   * Zeroes [low, high) of `block` if it has a frame with valid bytes there. With a journal, a frame without any is made anew too:
   * what it has must be committed again, since older records have something else in place of the zeros. `spare` is an unpublished frame.
   */
  zeroWithin(image: Image, block: BlockNo, low: number, high: number, spare: FrameNo, stamp: Instant): void {
    const old = this.index.find(image.slot, block);
    if (old === NONE || !(this.commits.tracks || this.frames.overlaps(old, low, high))) {
      this.allocator.release(spare);
      return;
    }
    const { frames } = this;
    frames.describe(spare, image.slot, block, stamp, 0, 0);
    frames.copyValidity(spare, old);
    this.slab.copy(old, spare, 0, BLOCK_BYTES);
    const at = this.slab.frameIndex(spare);
    this.slab.frameView(spare).fill(0, at + low, at + high);
    this.supersede(image, old, spare, 0, BLOCK_BYTES, false, false);
  }

  /** Drops the frame of `block`, if any: discarded, truncated away, or overwritten at home by a copy. */
  drop(image: Image, block: BlockNo): void {
    const frame = this.index.find(image.slot, block);
    if (frame !== NONE) this.dropFrame(image, frame);
  }

  /** Drops every frame of the image from `block` on, up to but without `end`. */
  dropFrom(image: Image, block: BlockNo, end = Number.POSITIVE_INFINITY): void {
    for (const list of [image.dirty, image.written, image.flushing]) {
      for (let frame = list.head; frame !== NONE; ) {
        const after = list.after(frame);
        const state = this.frames.state(frame);
        const at = this.frames.block(frame);
        if (state !== FrameState.doomed && at >= block && at < end) this.dropFrame(image, frame);
        frame = after;
      }
    }
  }

  private dropFrame(image: Image, frame: FrameNo): void {
    const state = this.frames.state(frame);
    assert(state !== FrameState.inflight, "whoever drops blocks waits for the image's home writes first");
    this.index.remove(frame);
    this.blocks--;
    this.commits.remove(image, frame);
    if (state === FrameState.dirty) {
      image.dirty.remove(frame);
      this.observer.removed(frame);
      this.counters.at[Counter.absorbedDiscardBlocks]! += 1;
    } else {
      this.listOf(image, frame).remove(frame);
      this.writtenBlocks--;
      this.counters.at[Counter.writebackBlocks]! += 1;
    }
    this.retire(frame);
  }

  /** A home write of the dirty `frame` begins. The policy has let go of it. */
  beginHomeWrite(frame: FrameNo): void {
    assert(this.frames.state(frame) === FrameState.dirty, "only dirty frames go home");
    this.frames.setState(frame, FrameState.inflight);
    this.pin(frame);
  }

  /** The home write of `frame` ended. */
  endHomeWrite(image: Image, frame: FrameNo, succeeded: boolean): void {
    const { frames } = this;
    if (frames.state(frame) === FrameState.doomed) {
      this.endDoomedWrite(image, frame, succeeded);
    } else if (succeeded) {
      image.dirty.remove(frame);
      frames.setState(frame, FrameState.written);
      image.written.append(frame);
      this.writtenBlocks++;
    } else {
      frames.setState(frame, FrameState.dirty);
      this.offer(image, frame);
    }
    this.unpin(frame);
  }

  /**
   * A frame that was superseded while its write was under way. If that write failed, the newer frame answers for the
   * older bytes too: 1. write A, 2. A goes home, 3. write B over A, 4. flush covers A only, 5. A's home write fails. The
   * flush must now wait for B.
   */
  private endDoomedWrite(image: Image, frame: FrameNo, succeeded: boolean): void {
    const { frames } = this;
    const newer = this.index.find(image.slot, frames.block(frame));
    const isDirty = newer !== NONE && frames.state(newer) === FrameState.dirty;
    if (isDirty) this.offer(image, newer); // the writer may have passed it over: two writes of a block never overlap
    if (succeeded) {
      this.counters.at[Counter.writebackBlocks]! += 1;
      this.commits.onOutrun(image, frame, false);
    } else {
      this.counters.at[Counter.absorbedRewriteBlocks]! += 1;
      if (isDirty) {
        image.dirty.remove(newer);
        image.dirty.replace(frame, newer);
        frames.setSince(newer, frames.since(frame));
        return;
      }
    }
    image.dirty.remove(frame);
  }

  /** A device flush of the image's backing file begins: it covers what is written now. */
  beginFlush(image: Image): void {
    assert(image.flushing.count === 0, "one device flush of an image at a time");
    for (let frame = image.written.head; frame !== NONE; ) {
      const after = image.written.after(frame);
      image.written.remove(frame);
      this.frames.setState(frame, FrameState.flushing);
      image.flushing.append(frame);
      frame = after;
    }
  }

  /**
   * That flush ended. If it failed, all that is written home is dirty again, also what was written while the flush ran:
   * none of the backing file's pages is trusted.
   */
  endFlush(image: Image, succeeded: boolean): void {
    if (!succeeded) {
      this.distrust(image, image.written);
      this.distrust(image, image.flushing);
      return;
    }
    for (let frame = image.flushing.head; frame !== NONE; ) {
      const after = image.flushing.after(frame);
      image.flushing.remove(frame);
      this.writtenBlocks--;
      this.index.remove(frame);
      this.blocks--;
      this.commits.remove(image, frame);
      this.commits.homed(image, frame);
      this.counters.at[Counter.writebackBlocks]! += 1;
      this.retire(frame);
      frame = after;
    }
  }

  /** The frames of `list`, written home, are dirty again: before all others, the last written last. */
  private distrust(image: Image, list: Image["written"]): void {
    while (list.tail !== NONE) {
      const frame = list.tail;
      list.remove(frame);
      this.writtenBlocks--;
      this.frames.setState(frame, FrameState.dirty);
      image.dirty.prepend(frame);
      this.offer(image, frame);
    }
  }

  /** Lists a dirty frame of `image` as a victim again, if it is not listed and may go home. */
  offer(image: Image, frame: FrameNo): void {
    this.commits.returned(image, frame);
    if (this.commits.mayGoHome(frame) && !this.observer.isListed(frame)) this.observer.returned(frame);
  }

  /** From now on, or no longer, only committed frames go home. Those that are on their way go on. */
  holdBack(images: Iterable<Image>, held: boolean): void {
    this.commits.holdsBack = held;
    for (const image of this.commits.extended) this.commits.closeExtension(image);
    for (const image of images) {
      for (let frame = image.dirty.head; frame !== NONE; frame = image.dirty.after(frame)) {
        if (this.frames.state(frame) !== FrameState.dirty) continue;
        if (this.commits.mayGoHome(frame)) this.offer(image, frame);
        else this.observer.removed(frame);
      }
    }
  }

  pin(frame: FrameNo): void {
    this.frames.addPins(frame, 1);
  }

  unpin(frame: FrameNo): void {
    const pins = this.frames.addPins(frame, -1);
    if (pins === 0 && this.frames.state(frame) === FrameState.doomed) this.release(frame);
  }

  private retire(frame: FrameNo): void {
    if (this.frames.pins(frame) !== 0) this.frames.setState(frame, FrameState.doomed);
    else this.release(frame);
  }

  /** Frees a frame that nothing uses, or one of an earlier engine whose image is gone. */
  release(frame: FrameNo): void {
    this.frames.setState(frame, FrameState.free);
    this.allocator.release(frame);
  }

  /**
   * Takes a frame of an earlier engine in: dirty whatever it was. The newer of two of one block stays. `isLive`: the journal
   * has its bytes as it says.
   */
  restore(image: Image, frame: FrameNo, isLive: boolean): void {
    const { frames } = this;
    if (!isLive) frames.setCommit(frame, 0);
    const other = this.index.find(image.slot, frames.block(frame));
    if (other !== NONE) {
      const older = frames.stamp(other) < frames.stamp(frame) ? other : frame;
      if (older === frame) {
        this.release(frame);
        return;
      }
      this.index.remove(other);
      this.commits.remove(image, other);
      image.dirty.remove(other);
      this.observer.removed(other);
      this.blocks--;
      this.release(other);
    }
    this.admit(image, frame, frames.stamp(frame));
  }
}
