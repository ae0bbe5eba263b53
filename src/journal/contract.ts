/** What the journal and its users tell each other. Lengths and offsets in bytes unless named otherwise. */

/** Which file an image is: its inode number, and its time of birth, because inode numbers are used again. */
export interface Identity {
  /** In decimal. */
  readonly inode: string;
  /** Milliseconds since 1970; 0 where the filesystem has none. */
  readonly birth: number;
}

/** What a commit says of an image beside its blocks. */
export interface Facts {
  /** Below the backing directory: for people, and to look there first. The identity decides. */
  readonly path: string;
  /** The image is at least this long at the instant of the commit. */
  readonly size: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  /** It may be missing after a power cut (`fresh` below). */
  readonly isFresh?: boolean;
  /** Home may be longer than `size`, and have something in this range, by what no commit has (`exact` below). */
  readonly exact?: Range | undefined;
}

/** Bytes of an image. */
export interface Range {
  readonly offset: number;
  readonly length: number;
}

/**
 * What a commit does beside writing blocks:
 *
 *   revoke     records of earlier commits in the range are void, and so is what they say of a size beyond `offset` when the
 *              range has no end: home has what is newer. Takes place before the commit's own blocks.
 *   gone       the file is about to be removed, and may be missing. Earlier records are for one that a power cut brings back.
 *   truncate   the size becomes `offset`, and what was beyond is gone. Takes place after the commit's blocks.
 *   zero       the range reads as zeros. Takes place after the commit's blocks.
 *   reshape    the file is about to be cut: a filesystem that finishes that when it comes up again sets its mtime (ext4 does)
 *   fresh      the file was made, and the filesystem may not have it yet: it may be missing
 *   cancel     what commit `offset` does to the image's shape did not take place
 *   exact      the image is no longer than the commit says, and the range, if it has a length, reads as zeros: what is written behind
 *              the end and in the range need not be committed first, and home may have it. Holds until a later commit names
 *              the image without it. Before it takes place, home has on stable media what earlier commits do to the image's shape.
 */
export const OPERATIONS = ["revoke", "gone", "truncate", "zero", "cancel", "reshape", "fresh", "exact"] as const;
export type OperationKind = (typeof OPERATIONS)[number];

/** True for what changes a home file when it is replayed. */
export const isAction = (kind: OperationKind): boolean => kind === "truncate" || kind === "zero";

/** Reads the journal file without waiting for anything but the device: at its start, and offline. */
export interface JournalReader {
  /** Bytes of the file. */
  readonly size: number;
  /** Fills `into` from `offset`; the bytes read (fewer at the end of the file), or a negated error number. */
  read(offset: number, into: Uint8Array): number;
}
