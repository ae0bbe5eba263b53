/**
 * What the filesystem side (`fs/`) and the data side (`volume/`) ask of each other. Images are named by inode slot.
 */
import type { InodeSlot } from "../base/units.ts";

/** Opens backing files for the volume; `fs/inodes.ts` is the real one. */
export interface HomeOpener {
  /**
   * Opens the backing file of `slot` for reading and writing (or, unless `toWrite`, for reading alone where that is all that is
   * allowed), after checking that it still is the same inode. A descriptor, or a negated error number (ESTALE: replaced underneath).
   */
  openHome(slot: InodeSlot, extraFlags: number, toWrite?: boolean): number;
}

/** The data of images, for namespace operations. */
export interface ImageData {
  /** True while bytes of the image are not yet home, or its size or mtime is not. */
  isDirty(slot: InodeSlot): boolean;
  /** Blocks that are not yet home. */
  dirtyBlocks(slot: InodeSlot): number;
  /** Sets the size, at home too, after writes in flight have ended; `done` gets 0 or a negated error number. */
  truncate(slot: InodeSlot, size: number, done: (result: number) => void): void;
  /**
   * The file has no name left, and nobody uses it: drops all its dirty data (counted as absorbed) and closes its descriptors; `done` runs
   * when no I/O names it any more and no recovery will miss it.
   */
  discard(slot: InodeSlot, done: () => void): void;
  /**
   * Nobody uses the file, and nothing of it is dirty: closes its descriptors. Drops nothing: `done` gets false, and it stays open, if
   * something of it came to be dirty meanwhile, or its device could not be flushed.
   */
  release(slot: InodeSlot, done: (isReleased: boolean) => void): void;
  /** Takes all of the image home and flushes its device, whatever a flush promises; `done` gets 0 or a negated error number. */
  flushHome(slot: InodeSlot, done: (result: number) => void): void;
  /** Runs `clean` once nothing of the image is dirty (at once if so) and its size and mtime are home. */
  whenClean(slot: InodeSlot, clean: () => void): void;
  /** Runs `change`, which sets times of the backing file of `slot` past the data side. */
  besides(slot: InodeSlot, change: () => number): number;
  /** Owner, mode, times, attributes or names of the file were changed at home: a flush must make that durable too. */
  attributesChanged(slot: InodeSlot): void;
  /** The user set mtime: while dirty data waits, remembers it so that writeback does not change it. Backing file is the caller's. */
  mtimeSet(slot: InodeSlot, seconds: number, nanoseconds: number): void;
}
