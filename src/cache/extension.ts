/**
 * What an image has that the last commit does not speak of, in `ordered`: beyond the end that it tells, and in one hole. While `isOpen`,
 * recovery would cut the one off and empty the other: so it may go home without having been in the journal (`volume/extending.ts`).
 */

/** Blocks `first` to `end` - 1 of an image. */
export interface Stretch {
  readonly first: number;
  readonly end: number;
}

export const NO_BLOCKS: Stretch = { first: 0, end: 0 };

/** What both have. */
export function common(a: Stretch, b: Stretch): Stretch {
  const first = Math.max(a.first, b.first);
  const end = Math.min(a.end, b.end);
  return first < end ? { first, end } : NO_BLOCKS;
}

export class Extension {
  /** First block that lies wholly beyond that end. */
  from: number;
  /** While it is open. */
  hole = NO_BLOCKS;
  isOpen = false;
  /** Uncommitted whole blocks that it has. */
  blocks = 0;
  /** Those that have come into the hole since the last commit, each as often as it was written, and the end of the last of them. */
  filled = 0;
  filledTo = 0;
  /** The first of the image's uncommitted frames (`Image.uncommitted`) that was not chosen to go home. */
  next = 0;

  constructor(from: number) {
    this.from = from;
  }

  has(block: number): boolean {
    return block >= this.from || (block >= this.hole.first && block < this.hole.end);
  }

  /** All uncommitted blocks are in a commit that speaks of `from` blocks. */
  begin(from: number): void {
    this.from = from;
    this.blocks = 0;
    this.next = 0;
    this.filled = 0;
    this.filledTo = 0;
  }

  /** A whole block has come. */
  came(block: number): void {
    this.blocks++;
    if (block >= this.from) return;
    this.filled++;
    this.filledTo = Math.max(this.filledTo, block + 1);
  }
}
