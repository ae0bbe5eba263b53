/** What a journal holds, brought home: by a mount after the power was lost, and by `hypegear recover`. Nothing is mounted then. */
import { ExitCode, Failure } from "../base/errors.ts";
import { type Replayed, replay } from "../journal/replay.ts";
import { O } from "../sys/constants.ts";
import { type Condition, type JournalPlace, type Look, look } from "./journal-file.ts";
import { BackingTarget } from "./replay-target.ts";

/** What is wrong with a journal that should be there, for messages. */
export const WRONG = {
  absent: "is missing",
  blank: "is blank",
  other: "is neither a file nor a block device",
  alien: "is not a hypegear journal",
  damaged: "is damaged: neither of its superblocks is whole",
  resized: "has another length than it was made with",
  newer: "was made by a newer hypegear",
  unreadable: "cannot be read",
  good: "is not the one that the state names",
} as const satisfies Record<Condition, string>;

export interface RecoverOptions {
  /** A descriptor of the backing directory, and its path for messages. */
  readonly root: number;
  readonly backing: string;
  readonly place: JournalPlace;
  /** What the state says; undefined: whatever lies there. */
  readonly id: string | undefined;
  /** The directory that a journal outside of it must be of; undefined: of any. */
  readonly owner: string | undefined;
  readonly force: boolean;
  readonly progress: (share: number) => void;
}

export interface Recovered {
  /** Undefined: there was no journal, and that was accepted. */
  replayed: Replayed | undefined;
  notices: string[];
}

/** Brings home what the journal holds; it is empty then, and stays. Throws a `Failure`, and nothing has been written. */
export function recover(options: RecoverOptions): Recovered {
  const { place, id, force } = options;
  const found = look(place, O.RDWR);
  try {
    if (found.isBusy === true)
      throw new Failure(`${place.shown}: the journal is in use; unmount what uses it first`, ExitCode.refused);
    if (found.condition === "good" && (id === undefined || found.superblock!.id === id)) {
      refuseOthers(options, found);
      return carryOut(options, found);
    }
    if (!force) throw without(options, found);
    return { replayed: undefined, notices: [`${place.shown} ${WRONG[found.condition]}: ${LOSS} (--force)`] };
  } finally {
    found.file?.close();
  }
}

const LOSS = "what was flushed and not yet home is lost";

function without({ place, backing }: RecoverOptions, { condition }: Look): Failure {
  const todo = condition === "newer" ? "mount with that" : "bring it back as it was";
  return new Failure(
    `${backing}: its journal ${place.shown} ${WRONG[condition]}, and with it what was flushed and not yet home; ${todo}, or accept the loss with --force`,
    ExitCode.refused,
  );
}

/** The state may have come here with a copy, and the journal be the original's: emptied, it would be missing there. */
function refuseOthers({ place, owner, force, backing }: RecoverOptions, { superblock }: Look): void {
  const whose = superblock!.backing;
  if (force || place.path === "" || owner === undefined || whose === owner) return;
  const todo = `mount that, or, if this is the same directory, go on with --force`;
  throw new Failure(`${place.shown}: is the journal of ${whose}, not of ${backing}; ${todo}`, ExitCode.refused);
}

function carryOut({ root, backing, place, force, progress }: RecoverOptions, { file, superblock }: Look): Recovered {
  const target = new BackingTarget(root);
  const replayed = replay(file!, superblock!, target, { backing, journal: place.shown, force, progress });
  return { replayed, notices: replayed.notices };
}
