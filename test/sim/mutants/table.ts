import { CACHE } from "./cache.ts";
import { EXTENDING } from "./extending.ts";
import { JOURNAL } from "./journal.ts";
import type { Mutant } from "./mutant.ts";
import { STALLED } from "./stalled.ts";
import { VOLUME } from "./volume.ts";
import { WRITEBACK } from "./writeback.ts";

/** All bugs that the simulator must find. To add one, add a row to the table of its folder. */
export const MUTANTS: readonly Mutant[] = [...CACHE, ...WRITEBACK, ...VOLUME, ...JOURNAL, ...EXTENDING, ...STALLED];
