/** Journal files made by hand, in memory. */
import { crc32 } from "node:zlib";
import { BLOCK_BYTES } from "../../src/base/units.ts";
import type { JournalReader, OperationKind } from "../../src/journal/contract.ts";
import { DescriptorBuilder } from "../../src/journal/descriptor.ts";
import { DESCRIPTOR_BYTES_MAX, ringOffset, SUPERBLOCK_BYTES } from "../../src/journal/layout.ts";
import { encodeSuperblock, type Superblock } from "../../src/journal/superblock.ts";

export const ID = "0123456789abcdef0123456789abcdef";
export const RING_BLOCKS = 64;

/** A block of an image that a commit has; its bytes are all `fill`. */
export interface MadeRecord {
  block: number;
  fill: number;
  low?: number;
  high?: number;
  sectors?: number;
  isAnew?: boolean;
}

export interface MadeCommit {
  records?: readonly MadeRecord[];
  operations?: readonly { kind: OperationKind; offset: number; length?: number }[];
  size?: number;
  inode?: string;
  birth?: number;
  /** False: more of its transaction follows. */
  isLast?: boolean;
  epoch?: number;
}

export class MadeJournal implements JournalReader {
  readonly bytes: Buffer;
  readonly superblock: Superblock = {
    id: ID,
    generation: 1,
    blocks: RING_BLOCKS,
    tailPosition: 0,
    tailSequence: 1,
    durable: 1,
    epoch: 1,
    leaseMs: 0,
    tailPrevious: 0,
    backing: "/srv/images",
  };
  /** Where each commit begins, ring blocks. */
  readonly positions: number[] = [];
  /** Reads that touch these file offsets fail. */
  readonly unreadable = new Set<number>();
  private readonly builder = new DescriptorBuilder(Buffer.alloc(DESCRIPTOR_BYTES_MAX));
  private sequence = 1;
  private first = 1;
  private position = 0;

  constructor(changes: Partial<Superblock> = {}) {
    this.bytes = Buffer.alloc(2 * SUPERBLOCK_BYTES + RING_BLOCKS * BLOCK_BYTES);
    Object.assign(this.superblock, changes);
    this.position = this.superblock.tailPosition;
    this.sequence = this.superblock.tailSequence;
    this.first = this.sequence;
    this.builder.checksum = this.superblock.tailPrevious;
    this.writeSuperblock();
  }

  get size(): number {
    return this.bytes.length;
  }

  read(offset: number, into: Uint8Array): number {
    for (const bad of this.unreadable) if (bad >= offset && bad < offset + into.length) return -5;
    const piece = this.bytes.subarray(offset, offset + into.length);
    into.set(piece);
    return piece.length;
  }

  writeSuperblock(slot = this.superblock.generation % 2): void {
    encodeSuperblock(this.superblock, this.bytes.subarray(slot * SUPERBLOCK_BYTES, (slot + 1) * SUPERBLOCK_BYTES));
  }

  /** Appends a commit of one image. */
  commit({
    records = [],
    operations = [],
    size = 0,
    inode = "7",
    birth = 1,
    isLast = true,
    epoch = 1,
  }: MadeCommit): void {
    const { builder } = this;
    builder.begin();
    const facts = { path: `image${inode}`, size, mtimeSeconds: 0, mtimeNanoseconds: 0 };
    const image = builder.image({ inode, birth }, facts);
    for (const { kind, offset, length = 0 } of operations) builder.operation(kind, image, offset, length);
    const payload = records.map(({ fill }) => Buffer.alloc(BLOCK_BYTES, fill));
    for (const { block, low = 0, high = BLOCK_BYTES, sectors = 0, isAnew = false } of records)
      builder.record(image, { block, low, high, sectors, isAnew });
    if (this.position + builder.blocks + records.length > RING_BLOCKS) this.position = 0;
    const { position, sequence, first } = this;
    const payloadChecksum = payload.reduce((checksum, bytes) => crc32(bytes, checksum), 0);
    const previous = builder.checksum;
    builder.finish({ id: ID, sequence, position, first, isLast, epoch, civilMs: 1000, previous, payloadChecksum });
    const all = Buffer.concat([builder["memory"].subarray(0, builder.blocks * BLOCK_BYTES), ...payload]);
    all.copy(this.bytes, ringOffset(position));
    this.positions.push(position);
    this.position = (position + builder.blocks + records.length) % RING_BLOCKS;
    this.sequence++;
    if (isLast) this.first = this.sequence;
  }

  /** Flips a bit of the byte at `offset`, counted from where commit `index` begins. */
  flip(index: number, offset: number): void {
    this.bytes[ringOffset(this.positions[index]!) + offset]! ^= 1;
  }
}
