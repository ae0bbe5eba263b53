/** A backing directory that nothing is mounted over: bringing home what an earlier mount left in its journal. */
import { closeSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
import { O } from "../sys/constants.ts";
import { isRest, slabOfState } from "./adoption.ts";
import { deadMountsOf, directoryId, openBacking } from "./directories.ts";
import { endKnown } from "./journal-adoption.ts";
import { type Condition, endJournal, type JournalPlace, look, placeOf } from "./journal-file.ts";
import { type Recovered, recover } from "./recovery.ts";
import { removeSlabFile, slabPath } from "./slab-file.ts";
import { currentBootId, type KnownJournal, type State, StateDirectory } from "./state.ts";

export interface OfflineOptions {
  /** The real path. */
  readonly backing: string;
  readonly force: boolean;
  readonly progress: (share: number) => void;
}

/**
 * Brings home what the journal of `backing` holds, and removes journal and state as a clean unmount would. Undefined: there was
 * nothing to do. Throws a `Failure`; then nothing has been written, or it says what.
 */
export function recoverOffline(options: OfflineOptions): Recovered | undefined {
  const root = openBacking(options.backing);
  const states = new StateDirectory(`/proc/self/fd/${root}`, options.backing);
  try {
    if (states.read() === undefined && conditionOf(placeOf("", states)) === "absent") return undefined;
    const lock = states.lock((holder) => inUse(options.backing, holder));
    try {
      return new Offline(options, root, states).run(states.read());
    } finally {
      closeSync(lock);
      states.leave();
    }
  } finally {
    closeSync(root);
  }
}

class Offline {
  private readonly options: OfflineOptions;
  private readonly root: number;
  private readonly states: StateDirectory;

  constructor(options: OfflineOptions, root: number, states: StateDirectory) {
    this.options = options;
    this.root = root;
    this.states = states;
  }

  run(found: State | undefined): Recovered {
    const { states } = this;
    const { state, notices } = this.withoutSlab(found);
    const known = state?.journal;
    const place = placeOf(known?.path ?? "", states);
    const outcome =
      state?.serving === false || state?.isVoid === true ? this.endIdle(place, known) : this.bringHome(place, state);
    states.removeHeld();
    states.removeState();
    states.clear();
    const dead = deadMountsOf(this.options.backing).map(stillDead);
    return { ...outcome, notices: [...notices, ...outcome.notices, ...dead] };
  }

  /** Refuses while a slab has what the journal does not, and what a mount refuses. */
  private withoutSlab(found: State | undefined): { state: State | undefined; notices: string[] } {
    const { backing, force } = this.options;
    const directory = directoryId(this.root);
    if (isRest(found, directory)) removeSlabFile(slabPath(directory));
    const { slab, state, notices } = slabOfState(found, backing, directory, force);
    if (slab === undefined) return { state, notices: found?.bootId === currentBootId() ? notices : [] };
    closeSync(slab.fd);
    throw besideSlab(backing, slabPath(directory));
  }

  private endIdle(place: JournalPlace, known: KnownJournal | undefined): Recovered {
    if (known !== undefined) endKnown(place, known, this.options.backing);
    return { replayed: undefined, notices: [] };
  }

  private bringHome(place: JournalPlace, state: State | undefined): Recovered {
    const { root, states, options } = this;
    const { backing, force, progress } = options;
    const none = "the mount that was cut off had no journal: what was flushed is home";
    if (state !== undefined && state.journal === undefined) return { replayed: undefined, notices: [none] };
    const id = state?.journal?.id;
    const recovered = recover({ root, backing, place, id, owner: backing, force, progress });
    if (state !== undefined) states.write({ ...state, serving: false });
    if (recovered.replayed !== undefined) endJournal(place, look(place, O.RDWR).file!);
    return recovered;
  }
}

/** What lies at `place`, without keeping it open. */
function conditionOf(place: JournalPlace): Condition {
  const { condition, file } = look(place, O.RDONLY);
  file?.close();
  return condition;
}

const stillDead = (mountpoint: string): string =>
  `the dead mount at ${mountpoint} is still there; hypegear umount ${mountpoint} takes it away`;

function besideSlab(backing: string, path: string): Failure {
  const why = `its slab ${path} is there, and has what the journal does not`;
  return new Failure(
    `${backing}: ${why}; mount it, which carries on with both: hypegear mount ${backing}`,
    ExitCode.refused,
  );
}

function inUse(backing: string, state: State | undefined): Failure {
  const by = state === undefined ? "in use" : `mounted at ${state.mountpoint} (keeper pid ${state.pid})`;
  return new Failure(`${backing}: ${by}; what is mounted needs no recovery, unmount it first`, ExitCode.refused);
}
