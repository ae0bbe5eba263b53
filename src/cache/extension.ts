/**
 * What an image has beyond the end that the last commit speaks of, in `ordered`. While `isOpen`, recovery would cut it off: so it
 * may go home without having been in the journal (`volume/extending.ts`).
 */
export class Extension {
  /** First block that lies wholly beyond that end. */
  from: number;
  isOpen = false;
  /** Uncommitted whole blocks from there on. */
  blocks = 0;
  /** The first of the image's uncommitted frames (`Image.uncommitted`) that was not chosen to go home. */
  next = 0;

  constructor(from: number) {
    this.from = from;
  }
}
