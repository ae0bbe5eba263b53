/** What lies in a backing directory that nothing is mounted over, looked at without changing it. */
import { closeSync, existsSync } from "node:fs";
import { Failure } from "../base/errors.ts";
import { O } from "../sys/constants.ts";
import { isRest, slabOfState } from "./adoption.ts";
import { deadMountsOf, directoryId, openBacking } from "./directories.ts";
import { type JournalPlace, type Look, look, placeOf } from "./journal-file.ts";
import { WRONG } from "./recovery.ts";
import { type Rehearsed, rehearse } from "./rehearsal.ts";
import { BackingTarget } from "./replay-target.ts";
import { slabPath } from "./slab-file.ts";
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
  /** Where mounts of it are that nobody serves any more. */
  dead: string[];
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
  const directory = directoryId(root);
  const path = slabPath(directory);
  const place = placeOf(state?.journal?.path ?? "", states);
  const isLocked = states.isLocked();
  const seen = look(place, O.RDONLY);
  try {
    const none = state?.isVoid === true || (state?.journal === undefined && seen.condition === "absent");
    const known: Omit<Inspection, "condition" | "why" | "content"> = {
      state,
      isThisBoot: state?.bootId === currentBootId(),
      dead: isLocked ? [] : deadMountsOf(backing),
      slab: existsSync(path) ? path : undefined,
      journal: none ? undefined : { place, what: whatOf(seen, state), bytes: seen.file?.size ?? 0 },
    };
    if (isLocked) return { ...known, condition: "mounted", why: "", content: undefined };
    try {
      return { ...known, ...judged(root, backing, place, seen, known) };
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return { ...known, condition: "refused", why: error.message, content: undefined };
    }
  } finally {
    seen.file?.close();
  }
}

/** What is at the journal's place, in words; empty for what should be there. */
function whatOf({ condition, superblock }: Look, state: State | undefined): string {
  const isRight = condition === "good" && (state?.journal === undefined || superblock!.id === state.journal.id);
  return isRight ? "" : WRONG[condition];
}

/** Throws what a mount would refuse with. */
function judged(
  root: number,
  backing: string,
  place: JournalPlace,
  { file, superblock }: Look,
  { state, journal }: Omit<Inspection, "condition" | "why" | "content">,
): Pick<Inspection, "condition" | "why" | "content"> {
  const say = (condition: Condition, why = ""): Pick<Inspection, "condition" | "why" | "content"> => ({
    condition,
    why,
    content: undefined,
  });
  const directory = directoryId(root);
  if (isRest(state, directory)) return say("clean");
  const { slab } = slabOfState(state, backing, directory, false);
  if (slab !== undefined) {
    closeSync(slab.fd);
    return journal === undefined || journal.what === ""
      ? say("carry")
      : say("refused", `${place.shown} ${journal.what}; the slab has all writes: mount with --force`);
  }
  if (state?.serving === false || (state === undefined && journal === undefined)) return say("clean");
  if (journal === undefined) return say("recoverable");
  if (journal.what !== "") return say("refused", `${place.shown} ${journal.what}`);
  const target = new BackingTarget(root, O.RDONLY);
  const content = rehearse(file!, superblock!, target, { backing, journal: place.shown });
  return { ...say("recoverable"), content };
}
