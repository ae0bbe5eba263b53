/**
 * Operations that change a backing file's shape: truncate, allocate, punch, zero, copy. Each has the image to itself
 * (`gates.ts`), does its work at home first, and then makes the cache agree. So a failure loses nothing, and no late home
 * write brings bytes back: none is in flight.
 */
import type { Ticker } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { event, result, type Task } from "../base/task.ts";
import { asBlock, BLOCK_BYTES, type FrameNo } from "../base/units.ts";
import { ImageFlag } from "../cache/image.ts";
import type { Image } from "../cache/images.ts";
import type { WriteCache } from "../cache/write-cache.ts";
import { FALLOC } from "../sys/constants.ts";
import type { Io } from "../sys/io.ts";
import type { HomeDevice } from "../writeback/devices.ts";
import type { Gates } from "./gates.ts";
import type { Space } from "./space.ts";

const COPY_ATTEMPTS = 3;
const WRITTEN_MEANWHILE = Number.NEGATIVE_INFINITY;

export interface ReshapeContext {
  readonly cache: WriteCache;
  readonly io: Io;
  readonly gates: Gates;
  readonly space: Space;
  readonly ticker: Ticker;
  nowUs(): number;
  civil(): { seconds: number; nanoseconds: number };
  /** Where the home of `image` lies. */
  device(image: Image): HomeDevice;
  /** Calls back when at least one frame is free. */
  whenFrames(use: () => void): void;
  /** Takes everything of `image` home, and flushes it there. 0 or a negated error number. */
  clean(image: Image, done: (result: number) => void): void;
  /** The journal's part: what is about to change at home, and that it has changed, or has failed to. */
  journal(): ShapeJournal;
}

export interface ShapeChange {
  readonly kind: "truncate" | "zero";
  readonly offset: number;
  readonly length: number;
}

/** What the journal is told of a change of shape; `durability.ts` keeps one. */
export interface ShapeJournal {
  /** Copies within home cannot be told to it. */
  readonly refusesCopies: boolean;
  /** Sequence of the last commit that is on stable media; 0: there is none. */
  readonly lastCommit: number;
  /** Runs `begin` when there is room for what comes of a change of shape; `isBegun`: an engine that was killed had begun it. */
  whenRoom(isBegun: boolean, begin: () => void): void;
  /** Such a change is over. */
  isOver(): void;
  /** Runs `begin` when a change of shape may begin. */
  whenSteady(begin: () => void): void;
  /** Something of ours is about to give a home file a new time of modification. */
  changing(): void;
  /** The image's home may be opened until `done`: what is to make room for it in the journal may have to go there. */
  declare(image: Image, changes: readonly ShapeChange[], done: (isDeclared: boolean) => void): void;
  /** `declared`: all of it was. */
  changedAtHome(image: Image, offset: number, end: number, declared: boolean): void;
  /** What was declared did not take place: `done` when a power cut will not make it do so. */
  cancel(image: Image, done: () => void): void;
}

/** Where there is none. */
export const NO_JOURNAL: ShapeJournal = {
  refusesCopies: false,
  lastCommit: 0,
  whenRoom: (_isBegun, begin) => begin(),
  isOver: () => undefined,
  whenSteady: (begin) => begin(),
  changing: () => undefined,
  declare: (_image, _changes, done) => done(false),
  changedAtHome: () => undefined,
  cancel: (_image, done) => done(),
};

export class Reshape {
  private readonly context: ReshapeContext;

  constructor(context: ReshapeContext) {
    this.context = context;
  }

  /**
   * Sets the image's size. 0 or a negated error number. The cache is cut whatever the size was before: 1. the file at home is
   * cut  2. the engine is killed  3. the next one takes the image's size from home  4. the same request comes again: by its
   * size it changes nothing, but dirty blocks still lie beyond the end, and would show when the image grows. If it does not
   * come again, because the client was killed too, the next engine finds the cut begun, and ends it.
   */
  truncate(image: Image, size: number): Task<number> {
    const { context } = this;
    const blockEnd = Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES;
    return this.alone(image, function* (reshape, spares) {
      image.beginCut(size, context.journal().lastCommit);
      const declared = yield* reshape.declare(image, [{ kind: "truncate", offset: size, length: 0 }]);
      context.journal().changing();
      const outcome = yield* reshape.atHome(image, (done) => context.io.truncate(image.file.buffered, size, done));
      if (outcome < 0) {
        image.cutHasFailed = true;
        yield* reshape.failed(image, outcome);
        image.endCut();
        return outcome;
      }
      context.cache.dropFrom(image, asBlock(Math.ceil(size / BLOCK_BYTES)));
      reshape.zeroWithin(image, size, blockEnd, spares);
      image.setHomeAndSize(size);
      image.endCut();
      reshape.changed(image, size, Number.POSITIVE_INFINITY, declared);
      context.space.forget(image.slot);
      reshape.touch(image);
      return 0;
    });
  }

  /**
   * fallocate(2) with any mode that the backing filesystem has. 0 or a negated error number. One that has begun is ended by the
   * next engine, as a truncate is: 1. a punch is told to the journal  2. the engine is killed, and the client too  3. guests go on
   * reading what is there  4. the power is cut, and recovery punches.
   */
  allocate(image: Image, mode: number, offset: number, length: number): Task<number> {
    return this.alone(image, function* (reshape, spares) {
      image.beginAllocation({ mode, offset, length }, reshape.context.journal().lastCommit);
      const outcome = yield* reshape.allocateAlone(image, mode, offset, length, spares);
      image.endAllocation();
      return outcome;
    });
  }

  private *allocateAlone(image: Image, mode: number, offset: number, length: number, spares: FrameNo[]): Task<number> {
    const { context } = this;
    const zeroes = (mode & (FALLOC.PUNCH_HOLE | FALLOC.ZERO_RANGE)) !== 0;
    const keepsSize = (mode & FALLOC.KEEP_SIZE) !== 0;
    const end = offset + length;
    const size = keepsSize ? image.size : Math.max(image.size, end);
    const changes: ShapeChange[] = zeroes ? [{ kind: "zero", offset, length }] : [];
    if (image.homeSize < size) changes.push({ kind: "truncate", offset: size, length: 0 });
    const declared = changes.length === 0 || (yield* this.declare(image, changes));
    context.journal().changing();
    // Home may be shorter than the image: its size is what the mode is about, so it comes first.
    if (image.homeSize < image.size) {
      const grown = yield* this.atHome(image, (done) => context.io.truncate(image.file.buffered, image.size, done));
      if (grown < 0) return yield* this.failed(image, grown);
      image.homeSize = image.size;
    }
    const outcome = yield* this.atHome(image, (done) =>
      context.io.fallocate(image.file.buffered, mode, offset, length, done),
    );
    if (outcome < 0) return yield* this.failed(image, outcome);
    if (zeroes) this.discard(image, offset, end, spares);
    if (!keepsSize && end > image.size) image.setHomeAndSize(end);
    this.changed(image, offset, zeroes ? end : offset, declared);
    context.space.forget(image.slot);
    this.touch(image);
    return 0;
  }

  /**
   * Runs `body` with `image` to itself and two free frames, for the ends of what it zeroes. They are taken first: behind the
   * gate, all others may be in the hands of writes that wait for it to open.
   */
  private *alone(image: Image, body: (reshape: Reshape, spares: FrameNo[]) => Task<number>): Task<number> {
    const { cache, gates } = this.context;
    const refused = image.file.makeWritable();
    // One that an earlier engine began is begun again: where it fails, it is taken back.
    const isBegun = image.hasFlag(ImageFlag.cut | ImageFlag.allocation) && !gates.isShut(image.slot);
    if (refused < 0 && !isBegun) return refused;
    const spares: FrameNo[] = [];
    const taken = new Int32Array(1);
    while (spares.length < 2) {
      yield* event((resume) => this.context.whenFrames(resume));
      cache.allocator.take(1, taken);
      spares.push(taken[0] as FrameNo);
    }
    const journal = this.context.journal();
    yield* event((resume) => journal.whenRoom(isBegun, resume));
    yield* event((resume) => journal.whenSteady(resume));
    const outcome = yield* gates.alone(image, () => body(this, spares));
    journal.isOver();
    for (const frame of spares) cache.allocator.release(frame);
    return outcome;
  }

  /** A change of the shape of `image` at home, which may take long. */
  private *atHome(image: Image, begin: (done: (result: number) => void) => void): Task<number> {
    image.shapingSinceUs = this.context.nowUs();
    this.context.device(image).watch();
    const outcome = yield* result(begin);
    image.shapingSinceUs = Number.POSITIVE_INFINITY;
    return outcome;
  }

  /** copy_file_range(2) between images, at home, where it may share blocks. Bytes copied, or a negated error number. */
  copy(from: Image, fromOffset: number, to: Image, toOffset: number, length: number): Task<number> {
    const { context } = this;
    const touch = (): void => this.touch(to);
    const changed = (end: number): void => this.changed(to, toOffset, end, false);
    const atHome = (begin: (done: (result: number) => void) => void): Task<number> => this.atHome(to, begin);
    const body = function* (): Task<number> {
      if (context.journal().refusesCopies) return -E.EOPNOTSUPP; // only since
      if (from.dirty.count + to.blocks > 0) return WRITTEN_MEANWHILE;
      context.journal().changing();
      const outcome = yield* atHome((done) => {
        context.io.copyRange(from.file.buffered, fromOffset, to.file.buffered, toOffset, length, done);
      });
      if (outcome <= 0) return outcome;
      const end = toOffset + outcome;
      to.homeSize = Math.max(to.homeSize, end);
      if (end > to.size) to.setHomeAndSize(end);
      changed(end);
      touch();
      return outcome;
    };
    const gated = function* (): Task<number> {
      if (from === to) return yield* context.gates.alone(to, body);
      const [outer, inner] = from.slot < to.slot ? [from, to] : [to, from];
      return yield* context.gates.alone(outer, () => context.gates.alone(inner, body));
    };
    return this.copyWhenClean(from, to, gated);
  }

  /**
   * Home must have what is copied, and nothing may lie over the target: a frame written and not yet flushed is all that is
   * left of its block if the flush fails. Images that are being written all the time
   * never fall clean: then the kernel is told to copy by reading and writing (EOPNOTSUPP).
   */
  private *copyWhenClean(from: Image, to: Image, gated: () => Task<number>): Task<number> {
    if (this.context.journal().refusesCopies) return -E.EOPNOTSUPP;
    const refused = to.file.makeWritable();
    if (refused < 0) return refused;
    for (let attempt = 0; attempt < COPY_ATTEMPTS; attempt++) {
      for (const image of [from, to]) {
        const outcome = yield* result((done) => this.context.clean(image, done));
        if (outcome < 0) return outcome;
      }
      yield* event((resume) => this.context.journal().whenSteady(resume));
      const copied = yield* gated();
      if (copied !== WRITTEN_MEANWHILE) return copied;
    }
    return -E.EOPNOTSUPP;
  }

  /** Home has changed in [offset, end), and perhaps in size. */
  private changed(image: Image, offset: number, end: number, declared: boolean): void {
    image.unflushed = true;
    image.changeShape();
    this.context.journal().changedAtHome(image, offset, end, declared);
  }

  /** True if the journal has it. */
  private *declare(image: Image, changes: readonly ShapeChange[]): Task<boolean> {
    const { gates } = this.context;
    const journal = this.context.journal();
    const declared = (yield (resume) => journal.declare(image, changes, resume)) as boolean;
    yield* gates.shutHome(image);
    return declared;
  }

  private *failed(image: Image, outcome: number): Task<number> {
    yield* event((done) => this.context.journal().cancel(image, done));
    return outcome;
  }

  /** Removes [offset, end) from the cache: home has zeros there. */
  private discard(image: Image, offset: number, end: number, spares: FrameNo[]): void {
    const first = Math.ceil(offset / BLOCK_BYTES);
    const last = Math.floor(end / BLOCK_BYTES);
    if (first > last) {
      this.zeroWithin(image, offset, end, spares);
      return;
    }
    this.dropWithin(image, first, last);
    this.zeroWithin(image, offset, first * BLOCK_BYTES, spares);
    this.zeroWithin(image, last * BLOCK_BYTES, end, spares);
  }

  /** Drops blocks first to last - 1, by whichever is fewer: the blocks, or the image's frames. */
  private dropWithin(image: Image, first: number, last: number): void {
    const { cache } = this.context;
    if (last - first <= image.blocks) {
      for (let block = first; block < last; block++) cache.drop(image, asBlock(block));
    } else {
      cache.dropFrom(image, asBlock(first), asBlock(last));
    }
  }

  /** Zeroes [low, high), which lies in one block, in that block's frame; takes one of `spares`. */
  private zeroWithin(image: Image, low: number, high: number, spares: FrameNo[]): void {
    if (low >= high) return;
    const { cache, ticker } = this.context;
    const block = asBlock(Math.floor(low / BLOCK_BYTES));
    const base = block * BLOCK_BYTES;
    cache.zeroWithin(image, block, low - base, high - base, spares.pop()!, ticker.tick());
  }

  /** The change is also one of mtime, for an image whose mtime we keep. */
  private touch(image: Image): void {
    if (!image.hasFlag(ImageFlag.mtime)) return;
    const { seconds, nanoseconds } = this.context.civil();
    image.touch(seconds, nanoseconds);
  }
}
