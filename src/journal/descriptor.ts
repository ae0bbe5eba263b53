/**
 * A commit's descriptor: what the frames behind it are, and what else the commit does. Little-endian, whole ring blocks:
 *
 *   0  "HYPECMIT"                    8  u32 crc32 of the descriptor's blocks from 12 on
 *   12 u32 descriptor blocks         16 journal id, 16 bytes        32 f64 sequence      40 f64 its own ring block
 *   48 f64 sequence of the first commit of its transaction          56 f64 epoch of the engine that wrote it
 *   64 f64 civil time, ms            72 u32 crc32 of the descriptor before it            76 u32 1: last of its transaction
 *   80 u32 records, one block behind the descriptor for each        84 u32 crc32 of those blocks
 *   88 u32 images                    92 u32 operations              96 u32 bytes in use
 *   100 images      u64 inode, f64 birth, f64 size, f64 mtime seconds, u32 nanoseconds, u32 path bytes, path
 *   then records    f64 block, u16 image, u16 low, u16 high, u8 sectors (valid bytes as in `cache/frames.ts`), u8 1: what
 *                                  earlier commits have of the block is void, home has the rest of it
 *   then operations u32 kind, u32 image, f64 offset, f64 length
 *
 * Position, sequence and journal are under the checksum: a commit in another place or of another turn does not pass. The
 * checksum before it ties it to its predecessor: what an engine that was killed had begun does not join its successor's commits.
 */
import { crc32 } from "node:zlib";
import { assert } from "../base/assert.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { type Facts, type Identity, OPERATIONS, type OperationKind } from "./contract.ts";
import { COMMIT_FRAMES_MAX, DESCRIPTOR_BYTES_MAX } from "./layout.ts";

const MAGIC = "HYPECMIT";
/** The same as two numbers: whole rings are looked through for it. */
const MAGIC_LOW = Buffer.from(MAGIC).readUInt32LE(0);
const MAGIC_HIGH = Buffer.from(MAGIC).readUInt32LE(4);
const CHECKED_FROM = 12;
const HEADER_BYTES = 100;
const IMAGE_BYTES = 40;
const RECORD_BYTES = 16;
const OPERATION_BYTES = 24;
/** Longest path kept; of a longer one its end. */
const PATH_BYTES_MAX = 512;

/** What identifies a commit. */
export interface CommitHeader {
  id: string;
  sequence: number;
  position: number;
  /** Sequence of the first commit of its transaction. */
  first: number;
  isLast: boolean;
  epoch: number;
  civilMs: number;
  /** Checksum of the descriptor before this one. */
  previous: number;
  payloadChecksum: number;
}

/** One block that a commit has. */
export interface CommitRecord {
  image: number;
  block: number;
  low: number;
  high: number;
  sectors: number;
  /** Earlier records of the block are void. */
  isAnew: boolean;
}

export interface CommitImage {
  identity: Identity;
  facts: Facts;
}

/** Builds one descriptor after the other in `memory`, DESCRIPTOR_BYTES_MAX long. */
export class DescriptorBuilder {
  records = 0;
  /** Checksum of the last descriptor that was finished. */
  checksum = 0;
  private images = 0;
  private operations = 0;
  private readonly memory: Buffer;
  private imageBytes: Buffer[] = [];
  private readonly recordBytes = Buffer.alloc(COMMIT_FRAMES_MAX * RECORD_BYTES);
  private operationBytes: Buffer[] = [];
  private imageLength = 0;

  constructor(memory: Buffer) {
    assert(memory.length === DESCRIPTOR_BYTES_MAX, "the longest descriptor fits");
    this.memory = memory;
  }

  begin(): void {
    this.records = 0;
    this.images = 0;
    this.operations = 0;
    this.imageLength = 0;
    this.imageBytes = [];
    this.operationBytes = [];
  }

  private get bytes(): number {
    return HEADER_BYTES + this.imageLength + this.records * RECORD_BYTES + this.operationBytes.length * OPERATION_BYTES;
  }

  /** True if `count` operations or records still fit, each with an image that is not in it yet. */
  hasRoom(count: number): boolean {
    const more = IMAGE_BYTES + PATH_BYTES_MAX + Math.max(RECORD_BYTES, OPERATION_BYTES) + 2 * OPERATION_BYTES; // fresh, and exact
    return this.bytes + count * more <= DESCRIPTOR_BYTES_MAX;
  }

  /** Adds an image; its index. */
  image({ inode, birth }: Identity, { path, size, mtimeSeconds, mtimeNanoseconds }: Facts): number {
    const name = Buffer.from(path, "latin1");
    const kept = name.subarray(Math.max(0, name.length - PATH_BYTES_MAX));
    const entry = Buffer.alloc(IMAGE_BYTES + kept.length);
    entry.writeBigUInt64LE(BigInt(inode), 0);
    entry.writeDoubleLE(birth, 8);
    entry.writeDoubleLE(size, 16);
    entry.writeDoubleLE(mtimeSeconds, 24);
    entry.writeUInt32LE(mtimeNanoseconds, 32);
    entry.writeUInt32LE(kept.length, 36);
    kept.copy(entry, IMAGE_BYTES);
    this.imageBytes.push(entry);
    this.imageLength += entry.length;
    return this.images++;
  }

  record(image: number, { block, low, high, sectors, isAnew }: Omit<CommitRecord, "image">): void {
    const at = this.records++ * RECORD_BYTES;
    const { recordBytes } = this;
    recordBytes.writeDoubleLE(block, at);
    recordBytes.writeUInt16LE(image, at + 8);
    recordBytes.writeUInt16LE(low, at + 10);
    recordBytes.writeUInt16LE(high, at + 12);
    recordBytes.writeUInt8(sectors, at + 14);
    recordBytes.writeUInt8(isAnew ? 1 : 0, at + 15);
  }

  operation(kind: OperationKind, image: number, offset: number, length: number): void {
    const entry = Buffer.alloc(OPERATION_BYTES);
    entry.writeUInt32LE(OPERATIONS.indexOf(kind), 0);
    entry.writeUInt32LE(image, 4);
    entry.writeDoubleLE(offset, 8);
    entry.writeDoubleLE(length, 16);
    this.operationBytes.push(entry);
    this.operations++;
  }

  /** Blocks that the descriptor takes. */
  get blocks(): number {
    return Math.ceil(this.bytes / BLOCK_BYTES);
  }

  /** Writes the descriptor into the memory. */
  finish(header: CommitHeader): void {
    const { memory, bytes, blocks } = this;
    memory.fill(0, 0, blocks * BLOCK_BYTES);
    memory.write(MAGIC, 0, "latin1");
    memory.writeUInt32LE(blocks, 12);
    memory.write(header.id, 16, "hex");
    [header.sequence, header.position, header.first, header.epoch, header.civilMs].forEach((value, i) => {
      memory.writeDoubleLE(value, 32 + i * 8);
    });
    memory.writeUInt32LE(header.previous, 72);
    memory.writeUInt32LE(header.isLast ? 1 : 0, 76);
    memory.writeUInt32LE(this.records, 80);
    memory.writeUInt32LE(header.payloadChecksum, 84);
    memory.writeUInt32LE(this.images, 88);
    memory.writeUInt32LE(this.operations, 92);
    memory.writeUInt32LE(bytes, 96);
    let at = HEADER_BYTES;
    for (const piece of [
      ...this.imageBytes,
      this.recordBytes.subarray(0, this.records * RECORD_BYTES),
      ...this.operationBytes,
    ])
      at += piece.copy(memory, at);
    this.checksum = crc32(memory.subarray(CHECKED_FROM, blocks * BLOCK_BYTES));
    memory.writeUInt32LE(this.checksum, 8);
  }
}

/** The blocks of the descriptor that begins in `block`, if one does; 0 if none. Nothing is checked but what bounds them. */
export function descriptorBlocks(block: Buffer): number {
  if (block.readUInt32LE(0) !== MAGIC_LOW || block.readUInt32LE(4) !== MAGIC_HIGH) return 0;
  const blocks = block.readUInt32LE(12);
  return blocks >= 1 && blocks * BLOCK_BYTES <= DESCRIPTOR_BYTES_MAX ? blocks : 0;
}

/** A descriptor whose checksum is right; its lists are decoded when they are asked for. */
export class Descriptor {
  readonly header: CommitHeader;
  readonly blocks: number;
  readonly records: number;
  readonly checksum: number;
  private readonly bytes: Buffer;
  private readonly recordsAt: number;
  readonly images: readonly CommitImage[];
  private readonly operationCount: number;

  private constructor(bytes: Buffer) {
    const f64 = (i: number): number => bytes.readDoubleLE(32 + i * 8);
    this.bytes = bytes;
    this.blocks = bytes.length / BLOCK_BYTES;
    this.checksum = bytes.readUInt32LE(8);
    this.records = bytes.readUInt32LE(80);
    this.operationCount = bytes.readUInt32LE(92);
    this.header = {
      id: bytes.toString("hex", 16, 32),
      sequence: f64(0),
      position: f64(1),
      first: f64(2),
      epoch: f64(3),
      civilMs: f64(4),
      previous: bytes.readUInt32LE(72),
      isLast: bytes.readUInt32LE(76) === 1,
      payloadChecksum: bytes.readUInt32LE(84),
    };
    const images: CommitImage[] = [];
    let at = HEADER_BYTES;
    for (let i = bytes.readUInt32LE(88); i > 0; i--) {
      const image = imageAt(bytes, at);
      images.push(image);
      at += IMAGE_BYTES + bytes.readUInt32LE(at + 36);
    }
    this.images = images;
    this.recordsAt = at;
  }

  /** Undefined if `bytes`, whole ring blocks that begin with one, hold no descriptor with a right checksum. */
  static decode(bytes: Buffer): Descriptor | undefined {
    const blocks = descriptorBlocks(bytes);
    if (blocks === 0 || blocks * BLOCK_BYTES > bytes.length) return undefined;
    const own = bytes.subarray(0, blocks * BLOCK_BYTES);
    if (own.readUInt32LE(8) !== crc32(own.subarray(CHECKED_FROM))) return undefined;
    if (own.readUInt32LE(96) > own.length || own.readUInt32LE(80) > COMMIT_FRAMES_MAX) return undefined;
    return new Descriptor(own);
  }

  record(index: number): CommitRecord {
    const at = this.recordsAt + index * RECORD_BYTES;
    const { bytes } = this;
    return {
      block: bytes.readDoubleLE(at),
      image: bytes.readUInt16LE(at + 8),
      low: bytes.readUInt16LE(at + 10),
      high: bytes.readUInt16LE(at + 12),
      sectors: bytes.readUInt8(at + 14),
      isAnew: bytes.readUInt8(at + 15) === 1,
    };
  }

  *operations(): Generator<{ kind: OperationKind; image: number; offset: number; length: number }> {
    let at = this.recordsAt + this.records * RECORD_BYTES;
    for (let i = 0; i < this.operationCount; i++, at += OPERATION_BYTES) {
      yield {
        kind: OPERATIONS[this.bytes.readUInt32LE(at)]!,
        image: this.bytes.readUInt32LE(at + 4),
        offset: this.bytes.readDoubleLE(at + 8),
        length: this.bytes.readDoubleLE(at + 16),
      };
    }
  }
}

function imageAt(bytes: Buffer, at: number): CommitImage {
  return {
    identity: { inode: String(bytes.readBigUInt64LE(at)), birth: bytes.readDoubleLE(at + 8) },
    facts: {
      size: bytes.readDoubleLE(at + 16),
      mtimeSeconds: bytes.readDoubleLE(at + 24),
      mtimeNanoseconds: bytes.readUInt32LE(at + 32),
      path: bytes.toString("latin1", at + IMAGE_BYTES, at + IMAGE_BYTES + bytes.readUInt32LE(at + 36)),
    },
  };
}
