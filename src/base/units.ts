/**
 * Units that must not be mixed. Each is a number with a brand; the conversions below are the only ones.
 * A block is 4096 bytes of an image, a frame one 4096-byte place in the slab, a sector 512 bytes.
 */
declare const unit: unique symbol;
type Unit<Name extends string> = number & { readonly [unit]: Name };

/** Index of a 4096-byte block within an image, 0 to 2^51 - 1. */
export type BlockNo = Unit<"BlockNo">;
/** Index of a frame within the slab, 0 to 2^31 - 1. */
export type FrameNo = Unit<"FrameNo">;
/** Index of an inode record in the slab; the kernel's node id is this plus one. */
export type InodeSlot = Unit<"InodeSlot">;
/** An address in this process's memory, as a number (user addresses fit in 47 bits). */
export type Address = Unit<"Address">;
/** Microseconds on the monotonic clock, with fractions that make each tick unique. */
export type Instant = Unit<"Instant">;

export const BLOCK_BYTES = 4096;
export const SECTOR_BYTES = 512;

export const asBlock = (n: number): BlockNo => n as BlockNo;
export const asFrame = (n: number): FrameNo => n as FrameNo;
export const asSlot = (n: number): InodeSlot => n as InodeSlot;
export const asAddress = (n: number): Address => n as Address;
export const asInstant = (n: number): Instant => n as Instant;

/** The block that holds byte `offset`. */
export const blockOf = (offset: number): BlockNo => Math.floor(offset / BLOCK_BYTES) as BlockNo;
/** How many blocks the range of `length` bytes at `offset` touches. */
export const blocksTouched = (offset: number, length: number): number =>
  length === 0 ? 0 : blockOf(offset + length - 1) - blockOf(offset) + 1;
