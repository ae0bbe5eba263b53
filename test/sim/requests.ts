/**
 * Requests as guests and the kernel send them, each with what it means to the oracle. A request is sent again when the
 * engine that had it is killed.
 */

import { E } from "../../src/base/errno.ts";
import { BLOCK_BYTES, type FrameNo, type InodeSlot } from "../../src/base/units.ts";
import { shiftPayload } from "../../src/fuse/landing.ts";
import { FALLOC, SEEK_DATA } from "../../src/sys/constants.ts";
import { IoVector } from "../../src/sys/iovec.ts";
import { PARKED, type Volume } from "../../src/volume/volume.ts";
import type { SimFile } from "./home.ts";
import { forBytes, iovecEntries } from "./memory.ts";
import { ImageOracle, type Mutation, Vow } from "./oracle.ts";
import { must } from "./world.ts";

/** An image as a history knows it. */
export class SimImage {
  readonly slot: InodeSlot;
  readonly file: SimFile;
  readonly oracle: ImageOracle;
  readonly vow: Vow;
  /** Set by the user after the last write, if it was. */
  mtime: number | undefined;

  constructor(file: SimFile) {
    this.slot = file.slot;
    this.file = file;
    this.oracle = new ImageOracle(file.now.copy(), file.size);
    this.vow = new Vow(this.oracle);
  }
}

/** One request: `send` gives it to an engine, `answer` takes what comes back. */
export abstract class Request {
  abstract readonly what: string;
  readonly image: SimImage;
  answered = false;
  /** Frames that it took from the landing window, when parked. */
  frames = 0;

  constructor(image: SimImage) {
    this.image = image;
  }

  abstract send(volume: Volume, answer: (result: number) => void): void;
  abstract answer(result: number): void;

  /** The engine that had it is dead. */
  abstract again(): void;

  /** So is the client that sent it. */
  abstract lose(): void;
}

/** A request that changes bytes or size. */
export abstract class Change extends Request {
  readonly mutation: Mutation;

  constructor(image: SimImage, mutation: Mutation) {
    super(image);
    this.mutation = mutation;
    image.mtime = undefined;
  }

  override again(): void {
    this.mutation.again = true;
  }

  override lose(): void {
    this.mutation.again = true;
    this.image.mtime = undefined;
    this.image.oracle.end(this.mutation, undefined);
  }

  override answer(result: number): void {
    this.image.mtime = undefined;
    this.image.oracle.end(this.mutation, result < 0 ? undefined : this.doneBytes(result));
  }

  protected doneBytes(_result: number): number {
    return Number.POSITIVE_INFINITY;
  }
}

const taken = new Int32Array(300);

export class Write extends Change {
  readonly what: string;
  private readonly offset: number;
  private readonly bytes: Uint8Array;
  private readonly view: (frame: FrameNo) => { bytes: Uint8Array; at: number };

  constructor(image: SimImage, offset: number, bytes: Uint8Array, view: Write["view"]) {
    const what = `write ${image.slot}: ${offset}+${bytes.length}`;
    const end = offset + bytes.length;
    super(
      image,
      image.oracle.begin(what, offset, end, bytes, (size) => Math.max(size, end)),
    );
    this.what = what;
    this.offset = offset;
    this.bytes = bytes;
    this.view = view;
  }

  /** As `fuse/session.ts`: the payload lands at the window's start, and is moved to where it lies in its blocks. */
  override send(volume: Volume, answer: (result: number) => void): void {
    const { allocator } = volume.cache;
    const { offset, bytes } = this;
    const shift = offset % BLOCK_BYTES;
    const frames = Math.ceil((shift + bytes.length) / BLOCK_BYTES);
    for (let i = 0; i * BLOCK_BYTES < bytes.length; i++) {
      const target = this.view(allocator.peek(i));
      target.bytes.set(bytes.subarray(i * BLOCK_BYTES, (i + 1) * BLOCK_BYTES), target.at);
    }
    allocator.take(frames, taken);
    if (shift !== 0) shiftPayload(volume.cache["slab"], taken, bytes.length, shift);
    this.frames = frames;
    const end = (result: number): void => {
      this.frames = 0;
      answer(result);
    };
    const result = volume.write(this.image.slot, offset, bytes.length, taken, () => end);
    if (result !== PARKED) end(result);
  }

  override answer(result: number): void {
    must(result < 0 || result === this.bytes.length, () => `${this.what}: took ${result} bytes`);
    super.answer(result);
  }
}

export class Truncate extends Change {
  readonly what: string;
  private readonly size: number;

  constructor(image: SimImage, size: number) {
    const what = `truncate ${image.slot}: ${size}`;
    super(
      image,
      image.oracle.begin(what, size, image.oracle.content.length, undefined, () => size),
    );
    this.what = what;
    this.size = size;
  }

  override send(volume: Volume, answer: (result: number) => void): void {
    volume.truncate(this.image.slot, this.size, answer);
  }
}

export class Allocate extends Change {
  readonly what: string;
  private readonly mode: number;
  private readonly offset: number;
  private readonly length: number;

  constructor(image: SimImage, mode: number, offset: number, length: number) {
    const what = `fallocate ${image.slot}: mode ${mode}, ${offset}+${length}`;
    const zeroes = (mode & (FALLOC.PUNCH_HOLE | FALLOC.ZERO_RANGE)) !== 0;
    const end = offset + length;
    const sizeAfter = (size: number): number => ((mode & FALLOC.KEEP_SIZE) !== 0 ? size : Math.max(size, end));
    super(image, image.oracle.begin(what, offset, zeroes ? end : offset, undefined, sizeAfter));
    this.what = what;
    this.mode = mode;
    this.offset = offset;
    this.length = length;
  }

  override send(volume: Volume, answer: (result: number) => void): void {
    volume.allocate(this.image.slot, this.mode, this.offset, this.length, answer);
  }
}

export class Copy extends Change {
  readonly what: string;
  readonly from: SimImage;
  private readonly fromOffset: number;
  private readonly offset: number;
  private readonly length: number;

  /** Nothing changes `from` meanwhile. */
  constructor(from: SimImage, fromOffset: number, image: SimImage, offset: number, length: number) {
    const what = `copy ${from.slot}: ${fromOffset}+${length} to ${image.slot}: ${offset}`;
    const bytes = from.oracle.content.slice(fromOffset, Math.min(fromOffset + length, from.oracle.size));
    const high = offset + bytes.length;
    // Of a copy that was answered, `high` says how far it came.
    const sizeAfter = (size: number, end: number): number => (end > offset ? Math.max(size, end) : size);
    super(image, image.oracle.begin(what, offset, high, bytes, sizeAfter));
    this.what = what;
    this.from = from;
    this.fromOffset = fromOffset;
    this.offset = offset;
    this.length = length;
  }

  override send(volume: Volume, answer: (result: number) => void): void {
    volume.copy(this.from.slot, this.fromOffset, this.image.slot, this.offset, this.length, answer);
  }

  protected override doneBytes(result: number): number {
    return result;
  }
}

const iov = new IoVector(600);

export class Read extends Request {
  readonly what: string;
  private readonly offset: number;
  private readonly length: number;
  private bytes = new Uint8Array(0);
  private view;

  constructor(image: SimImage, offset: number, length: number) {
    super(image);
    this.what = `read ${image.slot}: ${offset}+${length}`;
    this.offset = offset;
    this.length = length;
    this.view = image.oracle.look(offset, offset + length);
  }

  override send(volume: Volume, answer: (result: number) => void): void {
    const end = (result: number, entries: IoVector | undefined, count: number): void => {
      if (entries !== undefined) this.collect(entries, count);
      answer(result < 0 ? result : this.bytes.length);
    };
    const count = volume.read(this.image.slot, this.offset, this.length, iov, () => end);
    if (count < 0) end(count, undefined, 0);
    else if (count > 0) end(0, iov, count);
  }

  private collect(entries: IoVector, count: number): void {
    const pieces = iovecEntries(entries.address, count).slice(1);
    this.bytes = new Uint8Array(pieces.reduce((sum, { length }) => sum + length, 0));
    let at = 0;
    for (const { address, length } of pieces) {
      forBytes(address, length, (bytes, done) => this.bytes.set(bytes, at + done));
      at += length;
    }
  }

  override answer(result: number): void {
    this.image.oracle.forget(this.view);
    if (result >= 0) this.image.oracle.checkRead(this.view, this.bytes, () => this.what);
  }

  override again(): void {}

  override lose(): void {
    this.image.oracle.forget(this.view);
  }
}

export interface FlushPromise {
  /** True if the flush promises what the image was when it was asked for. */
  holds(): boolean;
  /** It was answered with success, and so it does. */
  kept(): void;
}

export class Flush extends Request {
  readonly what: string;
  private readonly dataOnly: boolean;
  private view;
  private readonly issuedAt: number;
  /** What its success promises. */
  private readonly promise: FlushPromise;

  constructor(image: SimImage, dataOnly: boolean, issuedAt: number, promise: FlushPromise) {
    super(image);
    this.promise = promise;
    this.what = `flush ${image.slot}${dataOnly ? "" : " and metadata"}`;
    this.dataOnly = dataOnly;
    this.issuedAt = issuedAt;
    this.view = image.oracle.lookAtAll();
  }

  override send(volume: Volume, answer: (result: number) => void): void {
    volume.flush(this.image.slot, this.dataOnly, answer);
  }

  override answer(result: number): void {
    const { oracle, vow } = this.image;
    if (result < 0 || !this.promise.holds()) {
      oracle.forget(this.view);
      return;
    }
    vow.keep(oracle, this.view, this.issuedAt);
    this.promise.kept();
  }

  override again(): void {}

  override lose(): void {
    this.image.oracle.forget(this.view);
  }
}

/** SEEK_DATA or SEEK_HOLE: answered at once. */
export function checkSeek(volume: Volume, image: SimImage, offset: number, whence: number): void {
  const { oracle } = image;
  if (!oracle.isCertain) return;
  const found = volume.seek(image.slot, offset, whence);
  const what = (): string =>
    `seek ${image.slot}: ${whence === SEEK_DATA ? "data" : "hole"} from ${offset} gave ${found}`;
  if (found === -E.ENXIO) {
    must(offset >= oracle.size || whence === SEEK_DATA, what);
    must(oracle.content.isZero(offset, oracle.size), () => `${what()}, but there is data`);
    return;
  }
  must(found >= offset && found <= oracle.size, what);
  if (whence === SEEK_DATA) must(oracle.content.isZero(offset, found), () => `${what()}, past data`);
  else
    must(
      oracle.content.isZero(found, Math.min(Math.floor(found / BLOCK_BYTES + 1) * BLOCK_BYTES, oracle.size)),
      () => `${what()}, where data is`,
    );
}
