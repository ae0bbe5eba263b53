/** Bugs of what goes home ahead of the journal. */
import type { Mutant } from "./mutant.ts";

const ROWS: readonly Omit<Mutant, "grows">[] = [
  {
    bug: "recovery leaves what is beyond the end of the last instant",
    file: "src/journal/replay.ts",
    find: "image.isExact ? image.size : Math.max(file.size, image.size);",
    replace: "Math.max(file.size, image.size);",
    seeds: 200,
  },
  {
    bug: "what lies before the end of a commit that is being written goes home",
    file: "src/cache/commits.ts",
    find: "extension.from = image.blocksBefore;",
    replace: "",
    seeds: 1000,
  },
  {
    bug: "home becomes longer before the commit that says so is on stable media",
    file: "src/volume/transactions.ts",
    find: "this.exact = new Set([...extended]",
    replace: "for (const image of extended) this.extend(image); this.exact = new Set([...extended]",
    seeds: 1000,
  },
  {
    bug: "home goes on becoming longer when the journal no longer says so",
    file: "src/volume/transactions.ts",
    find: "if (!extended.has(image)) cache.commits.closeExtension(image);",
    replace: "",
    seeds: 1000,
  },
  {
    bug: "an image goes home ahead of the journal whose change of shape recovery would carry out again",
    file: "src/volume/extending.ts",
    find: "live.changes === 0 && live.unfinished.length === 0",
    replace: "true",
    seeds: 3000,
  },
  {
    bug: "a file that is about to be removed is opened to say how long it is",
    file: "src/volume/extending.ts",
    find: "if (live.isLeaving) return false;",
    replace: "",
    seeds: 500,
  },
  {
    bug: "an image of which nothing is uncommitted keeps its old end in the journal",
    file: "src/volume/extending.ts",
    find: "return [...ledger.exact].filter(",
    replace: "return [].filter(",
    seeds: 1000,
  },
];

export const EXTENDING: readonly Mutant[] = ROWS.map((row) => ({ ...row, grows: true }));
