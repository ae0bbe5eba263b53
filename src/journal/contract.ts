/** What the journal and its users ask of each other. */
import type { InodeSlot } from "../base/units.ts";

/** An image as the journal knows it: one object an identity, for as long as the journal is open. */
export interface JournalImage {
  /** Inode number, in decimal. */
  readonly inode: string;
  /** Time of birth, milliseconds; 0 where the filesystem has none. */
  readonly birth: number;
}

/** What a commit says of an image beside its blocks. */
export interface ImageFacts {
  /** Relative to the backing directory: for people, and to look there first. The identity decides. */
  path: string;
  /** As guests see it at the instant of the commit, bytes. */
  size: number;
  mtimeSeconds: number;
  mtimeNanoseconds: number;
  /** What was last noted of the backing file (`cache/note.ts`). */
  note: { kind: "firm" | "loose" | "none"; size: number; modifiedMs: number };
}

/** A change of an image's shape that follows the frames of its commit. Offsets and lengths in bytes. */
export type Operation =
  /** The size becomes `size`; what lies beyond is gone. */
  | { readonly kind: "truncate"; readonly image: JournalImage; readonly size: number }
  /** The range reads as zeros, and the size stays. */
  | { readonly kind: "zero"; readonly image: JournalImage; readonly offset: number; readonly length: number }
  /** Earlier records of whole blocks in the range are void: home has newer bytes. */
  | { readonly kind: "revoke"; readonly image: JournalImage; readonly offset: number; readonly length: number }
  /** The file is about to be removed: if it is missing, its records are void. */
  | { readonly kind: "gone"; readonly image: JournalImage }
  /** An operation of an earlier commit did not take place. */
  | { readonly kind: "cancel"; readonly of: LiveOperation };

/** An operation in the journal whose effect at home is not yet durable; `revoke` and `cancel` never are one. */
export interface LiveOperation {
  readonly image: JournalImage;
  /** Of the commit, and its place in it. */
  readonly sequence: number;
  readonly index: number;
}

/** One atomic commit. */
export interface Batch {
  /** Published frames, pinned by the caller until `done`; at most one a block. */
  readonly frames: Int32Array;
  readonly count: number;
  /** Images whose size and time belong to the commit beside those of the frames. */
  readonly sized: readonly JournalImage[];
  /** In the order in which they take place, after the frames. */
  readonly operations: readonly Operation[];
}

/** What the journal asks of its user. */
export interface JournalUser {
  /** The image whose frames bear `slot`. */
  imageOf(slot: InodeSlot): JournalImage;
  facts(image: JournalImage): ImageFacts;
}
