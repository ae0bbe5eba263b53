/**
 * The commits of a transaction, one after the other: which frames and operations each has, its descriptor, and the vector of memory that
 * is written. What takes place before all blocks stands in the first, what takes place after them in the last.
 */
import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import { BLOCK_BYTES, type FrameNo, type InodeSlot, type Instant } from "../base/units.ts";
import { IoVector } from "../sys/iovec.ts";
import { Mapping } from "../sys/memory.ts";
import type { Batch, JournalContext } from "./batch.ts";
import { type Facts, isAction } from "./contract.ts";
import { type CommitHeader, DescriptorBuilder } from "./descriptor.ts";
import { COMMIT_FRAMES_MAX, DESCRIPTOR_BYTES_MAX } from "./layout.ts";
import type { LiveImage } from "./live-image.ts";

/** What is true of the images of a batch at one instant. */
export interface InstantOfBatch {
  instant: Instant;
  /** No live commit changes a shape: of each block home has durably what no frame has, and earlier records are void. */
  isAnew: boolean;
  images: Map<InodeSlot, LiveImage>;
  facts: Map<LiveImage, Facts>;
}

/** One commit of a transaction. */
export interface Part {
  sequence: number;
  images: LiveImage[];
  sizes: number[];
  blocks: number[][];
  /** Those whose shape it changes. */
  acting: readonly LiveImage[];
  /** Those whose home may be longer than it says. */
  exact: LiveImage[];
  end: number;
  checksum: number;
}

export class CommitBuilder {
  /** Of the commit that is being built: `entries` entries are in use. */
  readonly iov = new IoVector(COMMIT_FRAMES_MAX + 1);
  entries = 0;
  private payloadChecksum = 0;
  private readonly context: JournalContext;
  private readonly memory = Mapping.anonymous(DESCRIPTOR_BYTES_MAX);
  private readonly descriptor: DescriptorBuilder;

  /** `previous`: the checksum of the descriptor before the first. */
  constructor(context: JournalContext, previous: number) {
    this.context = context;
    this.descriptor = new DescriptorBuilder(Buffer.from(this.memory.view(0, DESCRIPTOR_BYTES_MAX)));
    this.checksum = previous;
  }

  /** Of the last descriptor that was finished. */
  get checksum(): number {
    return this.descriptor.checksum;
  }

  set checksum(checksum: number) {
    this.descriptor.checksum = checksum;
  }

  /** Blocks that the descriptor takes, and frames behind it. */
  get blocks(): number {
    return this.descriptor.blocks;
  }

  get records(): number {
    return this.descriptor.records;
  }

  /** What is true of the batch's images now: guests go on while it is written. */
  instantOf({ frames, count, operations, named }: Batch): InstantOfBatch {
    const { context } = this;
    const images = new Map<InodeSlot, LiveImage>();
    for (let i = 0; i < count; i++) {
      const slot = context.frames.image(frames[i] as FrameNo);
      if (!images.has(slot)) images.set(slot, context.imageOf(slot));
    }
    const all = new Set([...named, ...operations.map(({ image }) => image), ...images.values()]);
    const changes = new Map(operations.map(({ image, kind }) => [image, kind]));
    const facts = new Map([...all].map((image) => [image, context.facts(image, changes.get(image))]));
    return { instant: context.tick(), isAnew: !context.ledger.hasActions, images, facts };
  }

  /**
   * Fills the descriptor with as many of the frames from `from` on as fit, and the iovec with where they are; the first one with
   * what takes place before all blocks, too.
   */
  build(batch: Batch, from: number, isFirst: boolean, instant: InstantOfBatch): Part {
    const { descriptor, context } = this;
    const { frames } = context;
    const part: Part = { sequence: 0, images: [], sizes: [], blocks: [], acting: [], exact: [], end: 0, checksum: 0 };
    descriptor.begin();
    this.entries = 1;
    this.payloadChecksum = 0;
    if (isFirst) {
      for (const image of batch.named) {
        assert(descriptor.hasRoom(1), "whoever makes a batch bounds the images that it names");
        this.indexOf(image, part, instant);
      }
      for (const { kind, image, offset, length } of batch.operations) {
        if (isAction(kind)) continue;
        assert(descriptor.hasRoom(1), "whoever makes a batch bounds its operations");
        descriptor.operation(kind, this.indexOf(image, part, instant), offset, length);
      }
    }
    for (let at = from; at < batch.count && this.hasRoomForFrame; at++) {
      const frame = batch.frames[at] as FrameNo;
      const live = instant.images.get(frames.image(frame))!;
      const index = this.indexOf(live, part, instant);
      const block = frames.block(frame);
      const [low, high, sectors] = [frames.low(frame), frames.high(frame), frames.sectors(frame)];
      this.addPayload(frame);
      descriptor.record(index, { block, low, high, sectors, isAnew: instant.isAnew || live.isOutdated(block) });
      part.blocks[index]!.push(block);
    }
    return part;
  }

  private get hasRoomForFrame(): boolean {
    return this.descriptor.records < this.context.commitFrames && this.descriptor.hasRoom(1);
  }

  /** Adds what takes place after all blocks, if there is room for it: it stands in the last commit. */
  addActions({ operations }: Batch, part: Part, instant: InstantOfBatch): boolean {
    const actions = operations.filter(({ kind }) => isAction(kind));
    if (!this.descriptor.hasRoom(actions.length)) return false;
    for (const { kind, image, offset, length } of actions)
      this.descriptor.operation(kind, this.indexOf(image, part, instant), offset, length);
    part.acting = actions.map(({ image }) => image);
    return true;
  }

  /** The index of `image` in the commit that is being built. */
  private indexOf(image: LiveImage, { images, sizes, blocks, exact }: Part, { facts }: InstantOfBatch): number {
    const known = images.indexOf(image);
    if (known >= 0) return known;
    const own = facts.get(image)!;
    images.push(image);
    sizes.push(own.size);
    blocks.push([]);
    const index = this.descriptor.image(image.identity, own);
    if (own.isFresh === true) this.descriptor.operation("fresh", index, 0, 0);
    if (own.exact !== undefined) {
      this.descriptor.operation("exact", index, own.exact.offset, own.exact.length);
      exact.push(image);
    }
    return index;
  }

  private addPayload(frame: FrameNo): void {
    const { iov, context } = this;
    const { slab } = context;
    const at = slab.frameIndex(frame);
    this.payloadChecksum = crc32(slab.frameView(frame).subarray(at, at + BLOCK_BYTES), this.payloadChecksum);
    const address = slab.frameAddress(frame);
    if (this.entries > 1 && iov.endsAt(this.entries - 1, address)) iov.extend(this.entries - 1, BLOCK_BYTES);
    else iov.set(this.entries++, address, BLOCK_BYTES);
  }

  /** The commit is as it is to be: now it can be written. */
  finish(header: Omit<CommitHeader, "previous" | "payloadChecksum">): void {
    const { descriptor, payloadChecksum } = this;
    descriptor.finish({ ...header, previous: descriptor.checksum, payloadChecksum });
    this.iov.set(0, this.memory.address, descriptor.blocks * BLOCK_BYTES);
  }
}
