/** What lies in a backing directory that nothing is mounted over, looked at without changing it. */
import { closeSync } from "node:fs";
import { Failure } from "../base/errors.ts";
import { O } from "../sys/constants.ts";
import { directoryId, openBacking } from "./directories.ts";
import { type JournalPlace, type Look, look, placeOf } from "./journal-file.ts";
import { WRONG } from "./recovery.ts";
import { type Rehearsed, rehearse } from "./rehearsal.ts";
import { BackingTarget } from "./replay-target.ts";
import { openSlabFile, slabPath } from "./slab-file.ts";
import { currentBootId, type State, StateDirectory } from "./state.ts";

/**
 *   clean         nothing is left of an earlier mount
 *   mounted       a daemon has it
 *   carry         keeper and engine were killed: the next mount carries on with the slab
 *   recoverable   what is not home is in the journal: the next mount, or `recover`, brings it home
 *   refused       that would refuse; `why` says what it would say
 */
export type Condition = "clean" | "mounted" | "carry" | "recoverable" | "refused";

export interface Inspection {
  condition: Condition;
  why: string;
  state: State | undefined;
  isThisBoot: boolean;
  /** The path of the slab, if it is there. */
  slab: string | undefined;
  journal: { place: JournalPlace; what: string; bytes: number } | undefined;
  /** What is in the journal, if it can be read. */
  content: Rehearsed | undefined;
}

export function inspect(backing: string): Inspection {
  const root = openBacking(backing);
  try {
    const states = new StateDirectory(`/proc/self/fd/${root}`, backing);
    return inspected(root, backing, states);
  } finally {
    closeSync(root);
  }
}

function inspected(root: number, backing: string, states: StateDirectory): Inspection {
  const state = states.read();
  const path = slabPath(directoryId(root));
  const found = openSlabFile(path);
  if (found !== undefined) closeSync(found.fd);
  const place = placeOf(state?.journal?.path ?? "", states);
  const seen = look(place, O.RDONLY);
  try {
    const none = state?.isVoid === true || (state?.journal === undefined && seen.condition === "absent");
    const known: Omit<Inspection, "condition" | "why" | "content"> = {
      state,
      isThisBoot: state?.bootId === currentBootId(),
      slab: found === undefined ? undefined : path,
      journal: none ? undefined : { place, what: whatOf(seen, state), bytes: seen.file?.size ?? 0 },
    };
    if (states.isLocked()) return { ...known, condition: "mounted", why: "", content: undefined };
    return { ...known, ...judged(root, backing, place, seen, known) };
  } finally {
    seen.file?.close();
  }
}

/** What is at the journal's place, in words; empty for what should be there. */
function whatOf({ condition, superblock }: Look, state: State | undefined): string {
  const isRight = condition === "good" && (state?.journal === undefined || superblock!.id === state.journal.id);
  return isRight ? "" : WRONG[condition];
}

function judged(
  root: number,
  backing: string,
  place: JournalPlace,
  { file, superblock }: Look,
  { state, isThisBoot, slab, journal }: Omit<Inspection, "condition" | "why" | "content">,
): Pick<Inspection, "condition" | "why" | "content"> {
  const say = (condition: Condition, why = ""): Pick<Inspection, "condition" | "why" | "content"> => ({
    condition,
    why,
    content: undefined,
  });
  const serving = state?.serving === true;
  if (!serving && journal === undefined) return slab === undefined ? say("clean") : say("refused", foreignSlab(slab));
  if (state?.serving === false) return say("clean");
  if (serving && isThisBoot && slab !== undefined)
    return journal === undefined || journal.what === ""
      ? say("carry")
      : say("refused", `${place.shown} ${journal.what}; the slab has all writes: mount with --force`);
  if (journal === undefined) return say("recoverable");
  if (journal.what !== "") return say("refused", `${place.shown} ${journal.what}`);
  try {
    const target = new BackingTarget(root, O.RDONLY);
    const content = rehearse(file!, superblock!, target, { backing, journal: place.shown });
    return { ...say("recoverable"), content };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    return say("refused", error.message);
  }
}

const foreignSlab = (path: string): string => `${path}: a slab that no state names is in the way`;
