/**
 * `npm run sim -- --seeds N [--from S] [--lines L] [--all] [--commit-blocks B] [--grows yes|no] [--stalls yes|no]`: runs seeds S to S + N - 1. Stops at the first that fails and tells
 * its history; with `--all` goes on, and lists which failed. `B`: most blocks of a commit, for all of them. `--grows`: images are
 * copied in, in all of them or in none; `--stalls`: devices hang.
 */
import { parseArgs } from "node:util";
import { findingOf, tell } from "./run.ts";

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "1000" },
    from: { type: "string", default: "1" },
    lines: { type: "string", default: "60" },
    all: { type: "boolean", default: false },
    "commit-blocks": { type: "string" },
    grows: { type: "string" },
    stalls: { type: "string" },
  },
});
const from = Number(values.from);
const count = Number(values.seeds);
const drawn = {
  ...(values["commit-blocks"] === undefined ? {} : { commitBlocks: Number(values["commit-blocks"]) }),
  ...(values.grows === undefined ? {} : { grows: values.grows === "yes" }),
  ...(values.stalls === undefined ? {} : { stalls: values.stalls === "yes" }),
};
let failed = 0;

for (let seed = from; seed < from + count; seed++) {
  const finding = findingOf(seed, drawn);
  if (finding === undefined) continue;
  failed++;
  if (!values.all) console.log(tell(seed, Number(values.lines), drawn));
  console.log(`seed ${seed}: ${finding}`);
  if (!values.all) break;
}
if (failed > 0) console.log("rerun one: npm run sim -- --seeds 1 --from SEED");
else console.log(`${count} seeds from ${from}: nothing found`);
process.exitCode = failed === 0 ? 0 : 1;
