/**
 * The journal file: two superblocks, and a ring of blocks in which commits follow one another.
 *
 *   0        superblock, slot 0    4 KiB  `superblock.ts`     ring block 0 lies at 8 KiB
 *   4 KiB    superblock, slot 1    4 KiB
 *   8 KiB    the ring              blocks of 4 KiB; a commit (`descriptor.ts`) is some descriptor blocks, then one block for
 *                                  each frame; it never wraps: one that does not fit before the end begins at block 0
 *
 *        tail                      head                          the file's end
 *   |     |  commit 7 | commit 8 | commit 9 |   old turns, zeros  |
 *
 * Commits have sequence numbers without gaps. One or more of them make a transaction, which counts only when its last
 * commit is there. A transaction is written when the one before it is on stable media. Everything from the tail on is live:
 * replayed, in order, after a power cut. A tail moves on in both superblocks before anything behind it is used again, so that
 * either superblock alone leads to whole live commits.
 */
import { BLOCK_BYTES } from "../base/units.ts";

/** Superblocks are at 0 and at this offset. */
export const SUPERBLOCK_BYTES = BLOCK_BYTES;
export const RING_AT = 2 * SUPERBLOCK_BYTES;

/** Bytes in the file of ring block `position`. */
export const ringOffset = (position: number): number => RING_AT + position * BLOCK_BYTES;

/** Ring blocks of a journal file of `bytes`. */
export const ringBlocks = (bytes: number): number => Math.floor((bytes - RING_AT) / BLOCK_BYTES);

/** Most frames in one commit: with its descriptor it fits one vectored write (IOV_MAX 1024). */
export const COMMIT_FRAMES_MAX = 512;
/** Most bytes of a descriptor. */
export const DESCRIPTOR_BYTES_MAX = 64 * 1024;
export const DESCRIPTOR_BLOCKS_MAX = DESCRIPTOR_BYTES_MAX / BLOCK_BYTES;
