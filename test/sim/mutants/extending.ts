/** Bugs of what goes home ahead of the journal. */
import type { Mutant } from "./mutant.ts";

const ROWS: readonly Omit<Mutant, "histories">[] = [
  {
    bug: "recovery leaves what is beyond the end of the last instant",
    file: "src/journal/replay.ts",
    find: "exact !== undefined ? image.size : Math.max(file.size, image.size);",
    replace: "Math.max(file.size, image.size);",
    seeds: 200,
  },
  {
    bug: "what lies before the end of a commit that is being written goes home",
    file: "src/cache/commits.ts",
    find: "extension.begin(image.blocksBefore);",
    replace: "extension.begin(extension.from);",
    seeds: 1000,
  },
  {
    bug: "home becomes longer before the commit that says so is on stable media",
    file: "src/volume/transactions.ts",
    find: "this.exact = new Map([...extended]",
    replace: "for (const [image, hole] of extended) this.extend(image, hole); this.exact = new Map([...extended]",
    seeds: 3000,
  },
  {
    bug: "home goes on becoming longer when the journal no longer says so",
    file: "src/volume/transactions.ts",
    find: "else cache.commits.closeExtension(image);",
    replace: "",
    seeds: 1000,
  },
  {
    bug: "an image goes home ahead of the journal whose change of shape recovery carries out again",
    file: "src/journal/plan.ts",
    find: "if (isExact) image.actions = [];",
    replace: "",
    seeds: 3000,
  },
  {
    bug: "recovery does not carry out a change of shape that home has not on stable media",
    file: "src/volume/extending.ts",
    find: "=== 0 || !image.shapeUnflushed;",
    replace: "=== 0 || true;",
    seeds: 3000,
  },
  {
    bug: "recovery leaves what home has in a hole of the last instant",
    file: "src/journal/replay.ts",
    find: "if (exact !== undefined && exact.length > 0)",
    replace: "if (false)",
    seeds: 300,
  },
  {
    bug: "a hole is filled at home before the commit that names it is on stable media",
    file: "src/cache/commits.ts",
    find: "extension.hole = common(extension.hole, hole);",
    replace: "extension.hole = hole;",
    seeds: 3000,
  },
  {
    bug: "a commit calls hole what is filled at home and was not committed",
    file: "src/volume/holes.ts",
    find: "data < 0 ? end : Math.min(end, Math.floor(data / BLOCK_BYTES))",
    replace: "end",
    seeds: 1000,
  },
  {
    bug: "a commit calls hole what it has blocks of",
    file: "src/volume/holes.ts",
    find: "cache.frames.state(frame) !== FrameState.doomed",
    replace: "false",
    seeds: 1000,
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

export const EXTENDING: readonly Mutant[] = ROWS.map((row) => ({ ...row, histories: "grows" }));
