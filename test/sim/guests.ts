/** The guests: draws requests at random, such that the oracle can tell what must come of them. */
import { asSlot, BLOCK_BYTES, type FrameNo, type InodeSlot } from "../../src/base/units.ts";
import { ImageFlag } from "../../src/cache/image.ts";
import type { Slab } from "../../src/cache/slab.ts";
import { COMMIT_FRAMES_MAX } from "../../src/journal/layout.ts";
import { FALLOC, SEEK_DATA, SEEK_HOLE } from "../../src/sys/constants.ts";
import type { DurabilityMode } from "../../src/volume/durability-context.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { SimFile, type SimHome } from "./home.ts";
import { KINDS, type Kind, type Plan } from "./plan.ts";
import { Random } from "./random.ts";
import {
  Allocate,
  Copy,
  checkSeek,
  Flush,
  type FlushPromise,
  Read,
  type Request,
  SimImage,
  Truncate,
  Write,
} from "./requests.ts";
import { must, type World } from "./world.ts";

/** Bytes that no two writes share by chance; none is 0 or the poison of freed frames. */
const PATTERN = makePattern(2 ** 21);

function makePattern(length: number): Uint8Array {
  const random = new Random(4711);
  return Uint8Array.from({ length }, () => 1 + random.below(0xda));
}

/** What the guests need of the history that they are part of. */
export interface GuestContext {
  readonly world: World;
  readonly home: SimHome;
  readonly slab: Slab;
  /** Requests that were sent and not yet answered. */
  readonly open: ReadonlySet<Request>;
  volume(): Volume;
  /** What a flush that is asked for now promises. */
  promised(): FlushPromise;
  /** Changes the durability mode. */
  become(mode: DurabilityMode): void;
  /** Has all taken home. */
  drain(): void;
  /** An image has lost its last name. */
  moved(image: SimImage): void;
  /** Sends a request. */
  begin(request: Request): void;
  /** Waits, in this engine's life, for what `begin` calls back. */
  await(begin: (done: () => void) => void): void;
  /** The same, for what new writes may put off until the end. */
  awaitClean(begin: (done: () => void) => void): void;
}

export class Guests {
  /** The images that have names. */
  images: SimImage[] = [];
  private readonly random: Random;
  private readonly plan: Plan;
  private readonly context: GuestContext;
  private nextSlot = 0;
  /** Images that have lost their names, and still have their files. */
  private readonly leaving = new Set<InodeSlot>();
  /** Where the last of the writes to an image that fill it ended. */
  private readonly lasts = new Map<SimImage, number>();
  private readonly fate = new Random(4713);
  private writes = 0;
  private flushes = 0;

  constructor(random: Random, plan: Plan, context: GuestContext) {
    this.random = random;
    this.plan = plan;
    this.context = context;
    for (let i = 0; i < plan.images; i++) this.images.push(this.newImage());
  }

  private newImage(): SimImage {
    const { random, plan } = this;
    const slot = asSlot(this.nextSlot++);
    const size = this.drawSize();
    const file = new SimFile(slot, size, plan.capacity, this.context.world, this.context.home);
    if (random.chance(0.7)) {
      const density = plan.fills ? 0.005 : 0.7;
      for (let at = 0; at < size; at += BLOCK_BYTES)
        if (random.chance(density)) this.preset(file, at, Math.min(BLOCK_BYTES, size - at));
    }
    this.context.home.files.set(slot, file);
    return new SimImage(file);
  }

  private drawSize(): number {
    const { random, plan } = this;
    if (plan.fills && random.chance(0.8)) return plan.capacity;
    return random.chance(plan.grows ? 0.8 : 0.3) ? 0 : random.below(plan.capacity);
  }

  private preset(file: SimFile, at: number, length: number): void {
    const bytes = this.bytes(length);
    if (!file.takeRoom(at, length, 2)) return;
    file.now.set(bytes, at);
    file.durable.set(bytes, at);
  }

  private bytes(length: number): Uint8Array {
    const at = (this.writes++ * 7919 * 13) % (PATTERN.length - length);
    return PATTERN.subarray(at, at + length);
  }

  /** Draws a request, and sends it. */
  next(): void {
    REQUESTS[this.draw()](this, this.random.pick(this.images));
  }

  private draw(): Kind {
    const { weights } = this.plan;
    let at = (this.random.word() / 4294967296) * KINDS.reduce((sum, kind) => sum + weights[kind], 0);
    return KINDS.find((kind) => (at -= weights[kind]) < 0) ?? "write";
  }

  private offset(): number {
    const { random, plan } = this;
    const [whole, sectors, odd] = plan.grain;
    const grain = random.below(Math.ceil((whole + sectors + odd) * 10)) / 10;
    const at = random.chance(0.7)
      ? random.below(Math.min(plan.hotBlocks * BLOCK_BYTES, plan.capacity))
      : random.below(plan.capacity);
    const unit = grain < whole ? BLOCK_BYTES : grain < whole + sectors ? 512 : 1;
    return Math.floor(at / unit) * unit;
  }

  /** A range within the capacity, not empty. */
  private range(longest: number): { offset: number; length: number } {
    const offset = this.offset();
    const unit =
      offset % BLOCK_BYTES === 0 && this.random.chance(0.7)
        ? BLOCK_BYTES
        : offset % 512 === 0 && this.random.chance(0.7)
          ? 512
          : 1;
    const length = Math.ceil(this.random.magnitude(longest) / unit) * unit;
    return { offset, length: Math.min(length, this.plan.capacity - offset, 2 ** 20) };
  }

  /** Anything that changes the image's shape in ways that the order of requests would decide is not asked for together. */
  private isUnsettled(image: SimImage): boolean {
    return (
      [...this.context.open].some((request) => request instanceof Truncate && request.image === image) ||
      this.isCopied(image)
    );
  }

  private isCopied(image: SimImage): boolean {
    return [...this.context.open].some((request) => request instanceof Copy && request.from === image);
  }

  write(image: SimImage): void {
    if (this.isUnsettled(image)) return;
    const { offset, length } = this.place(image);
    this.context.begin(new Write(image, offset, this.bytes(length), (frame) => this.frameBytes(frame)));
  }

  private place(image: SimImage): { offset: number; length: number } {
    if (this.plan.fills && image.oracle.size === this.plan.capacity) return this.behindLast(image);
    return this.plan.grows ? this.atEnd(image) : this.range(this.plan.longestWrite);
  }

  /** Mostly where the last write to the image that was drawn like this ended. */
  private behindLast(image: SimImage): { offset: number; length: number } {
    const range = this.range(this.plan.longestWrite);
    const last = this.lasts.get(image) ?? 0;
    const isJump = last === this.plan.capacity || this.random.chance(0.05);
    if (!isJump && this.random.chance(0.15)) return range;
    const offset = isJump ? range.offset : last;
    const length = Math.min(range.length, this.plan.capacity - offset);
    this.lasts.set(image, offset + length);
    return { offset, length };
  }

  /** Mostly where the image ends, or where it will when what is asked for is done. */
  private atEnd({ oracle }: SimImage): { offset: number; length: number } {
    const range = this.range(this.plan.longestWrite);
    const end = [...oracle.open].reduce((size, mutation) => mutation.sizeAfter(size, mutation.high), oracle.size);
    const room = this.plan.capacity - end;
    if (room === 0 || this.random.chance(0.2)) return range;
    return { offset: end, length: Math.min(range.length, room) };
  }

  private frameBytes(frame: FrameNo): { bytes: Uint8Array; at: number } {
    return { bytes: this.context.slab.frameView(frame), at: this.context.slab.frameIndex(frame) };
  }

  read(image: SimImage): void {
    const { offset, length } = this.range(this.random.chance(0.3) ? this.plan.capacity : this.plan.longestWrite);
    this.context.begin(new Read(image, offset, length));
  }

  flush(image: SimImage): void {
    this.context.begin(new Flush(image, this.random.chance(0.7), this.flushes++, this.context.promised()));
  }

  truncate(image: SimImage): void {
    if (this.isUnsettled(image)) return;
    const size = this.random.chance(0.5) ? this.offset() : this.random.below(this.plan.capacity + 1);
    const beyond = [...image.oracle.open].some(
      (mutation) => mutation.high > size || mutation.sizeAfter(0, mutation.high) > size,
    );
    if (!beyond) this.context.begin(new Truncate(image, size));
  }

  allocate(image: SimImage, mode: number): void {
    if (this.isUnsettled(image)) return;
    const { offset, length } = this.range(this.plan.capacity);
    this.context.begin(new Allocate(image, mode, offset, length));
  }

  copy(to: SimImage): void {
    const from = this.random.pick(this.images);
    if (!from.oracle.isCertain || this.isUnsettled(to) || this.isUnsettled(from)) return;
    const { offset, length } = this.range(this.plan.capacity);
    const fromOffset = this.offset();
    const bytes = Math.min(length, this.plan.capacity - fromOffset);
    if (from === to) return;
    this.context.begin(new Copy(from, fromOffset, to, offset, bytes));
  }

  seek(image: SimImage): void {
    checkSeek(this.context.volume(), image, this.offset(), this.random.chance(0.5) ? SEEK_DATA : SEEK_HOLE);
  }

  /** The last name of a file nobody has open is gone: nothing of it is asked for any more. */
  discard(image: SimImage): void {
    if (
      [...this.context.open].some(
        (request) => request.image === image || (request instanceof Copy && request.from === image),
      )
    )
      return;
    this.images = this.images.filter((other) => other !== image);
    this.images.push(this.newImage());
    this.leaving.add(image.slot);
    this.context.moved(image);
    this.context.world.note(() => `discard ${image.slot}`);
    this.leave(image.slot);
  }

  /** The file goes when the data side has let it go. */
  private leave(slot: InodeSlot): void {
    this.context.await((done) =>
      this.context.volume().discard(slot, () => {
        this.leaving.delete(slot);
        // The next file may get its slot.
        must(this.context.volume()["images"].get(slot) === undefined, () => `image ${slot} is open, and removed`);
        this.context.home.files.delete(slot);
        done();
      }),
    );
  }

  /** A new engine finds files that were about to go. */
  discardAgain(): void {
    for (const slot of Array.from(this.leaving)) this.leave(slot);
  }

  drain(): void {
    this.context.drain();
  }

  clean(image: SimImage): void {
    // Drawn by itself, and only where commits are small: seeds that were kept before know of no release.
    if (this.plan.commitBlocks < COMMIT_FRAMES_MAX && this.fate.chance(0.6)) {
      this.release(image);
      return;
    }
    this.context.world.note(() => `when clean ${image.slot}`);
    this.context.awaitClean((done) => this.context.volume().whenClean(image.slot, done));
  }

  /** The kernel forgets the file, and may ask for it again at any moment. */
  private release(image: SimImage): void {
    const volume = this.context.volume();
    if (volume.isDirty(image.slot)) return;
    this.context.world.note(() => `release ${image.slot}`);
    this.context.await((done) =>
      volume.release(image.slot, (isReleased) => {
        this.context.world.note(() => `    released ${image.slot}: ${isReleased}`);
        done();
      }),
    );
  }

  mtime(image: SimImage): void {
    if (image.oracle.open.size > 0) return;
    const seconds = this.random.below(1e9);
    const volume = this.context.volume();
    if ((volume["table"].flags(image.slot) & (ImageFlag.cut | ImageFlag.allocation)) !== 0) return; // a new engine is ending what nobody waits for
    image.mtime = seconds;
    volume.besides(image.slot, () => {
      image.file.mtime = { seconds, nanoseconds: 0 };
      return 0;
    });
    volume.mtimeSet(image.slot, seconds, 0);
  }

  setting(): void {
    const volume = this.context.volume();
    const what = this.random.below(4);
    if (what === 0) volume.pressure.setShare(this.random.pick([0.05, 0.2, 0.8, 0.95]));
    if (what === 1) volume.writer.pacer.rateLimit = this.random.pick([0, 1e6, 1e8]);
    if (what === 3) this.context.become(this.random.pick(["sync", "ordered", "volatile"]));
    if (what === 2) volume.maxAgeUs = this.random.pick([0, 0, 1000, 1e6]);
  }
}

const REQUESTS: Record<Kind, (guests: Guests, image: SimImage) => void> = {
  write: (guests, image) => guests.write(image),
  read: (guests, image) => guests.read(image),
  flush: (guests, image) => guests.flush(image),
  truncate: (guests, image) => guests.truncate(image),
  punch: (guests, image) => guests.allocate(image, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE),
  zero: (guests, image) => guests.allocate(image, FALLOC.ZERO_RANGE),
  allocate: (guests, image) => guests.allocate(image, 0),
  copy: (guests, image) => guests.copy(image),
  seek: (guests, image) => guests.seek(image),
  discard: (guests, image) => guests.discard(image),
  drain: (guests) => guests.drain(),
  clean: (guests, image) => guests.clean(image),
  mtime: (guests, image) => guests.mtime(image),
  setting: (guests) => guests.setting(),
};
