/** Runs seeds, and tells of one that failed. */
import { SimSlab } from "./engine.ts";
import { History } from "./history.ts";
import { type Drawn, drawnOf } from "./plan.ts";

const HISTORY_LINES = 60;

let slab: SimSlab | undefined;

/** What went wrong in the history of `seed`; undefined if nothing did. `drawn`: instead of the seed's own. */
export function findingOf(seed: number, drawn: Partial<Drawn> = {}): string | undefined {
  slab ??= new SimSlab();
  try {
    new History(seed, slab, false, { ...drawnOf(seed), ...drawn }).play();
    return undefined;
  } catch (error) {
    return error instanceof Error && error.name === "Violation"
      ? error.message
      : String((error as Error).stack ?? error);
  }
}

/** The end of the history of `seed`, for people. */
export function tell(seed: number, lines = HISTORY_LINES, drawn: Partial<Drawn> = {}): string {
  slab ??= new SimSlab();
  const history = new History(seed, slab, true, { ...drawnOf(seed), ...drawn });
  try {
    history.play();
  } catch {
    // What it was is known: it happened before.
  }
  const { history: all } = history.world;
  const left = Math.max(0, all.length - lines);
  return [all[0], ...(left > 0 ? [`  ... ${left} lines ...`] : []), ...all.slice(-lines)].join("\n");
}
