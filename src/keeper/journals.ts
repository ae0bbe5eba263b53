/** The journal of a mount that begins: what comes of the one before, and which one this mount has. */
import { randomBytes } from "node:crypto";
import { statfsSync } from "node:fs";
import { dirname } from "node:path";
import { systemClock } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { Failure } from "../base/errors.ts";
import { JOURNAL_BYTES_DEFAULT, JOURNAL_BYTES_MIN, JOURNAL_FREE_SHARE } from "../base/limits.ts";
import { formatSize } from "../base/size.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import type { PositionedFile } from "../device/positioned-file.ts";
import type { Replayed } from "../journal/replay.ts";
import type { Verdict } from "./adoption.ts";
import type { KeeperConfig } from "./config.ts";
import { carried, endKnown, vacant } from "./journal-adoption.ts";
import { createJournal, endJournal, type JournalPlace, notMade, placeOf } from "./journal-file.ts";
import { recover } from "./recovery.ts";
import type { KnownJournal, State, StateDirectory } from "./state.ts";

const TMPFS = 0x01021994;

/** A journal that is to be made. */
export interface PlannedJournal {
  readonly place: JournalPlace;
  readonly file: PositionedFile | undefined;
  readonly bytes: number;
  readonly known: KnownJournal;
}

export interface MountJournal {
  readonly place: JournalPlace;
  readonly file: PositionedFile;
  readonly known: KnownJournal;
}

export interface JournalsContext {
  readonly config: KeeperConfig;
  readonly states: StateDirectory;
  /** A descriptor of the backing directory, and its real path. */
  readonly root: number;
  readonly backing: string;
  readonly notices: string[];
  readonly progress: (share: number) => void;
}

export class Journals {
  private readonly context: JournalsContext;

  constructor(context: JournalsContext) {
    this.context = context;
  }

  /** Does what is to be done with the journal of the mount before; the one that is carried on with. */
  settle({ journal, state, notices }: Verdict): MountJournal | undefined {
    this.context.notices.push(...notices);
    if (journal === undefined) return undefined;
    const { states, backing, config } = this.context;
    const { known, fate } = journal;
    const place = placeOf(known.path, states);
    if (fate === "end") endKnown(place, known, backing);
    else if (fate === "recover") this.recover(place, known, state!);
    else {
      const file = carried(place, known, backing, config.force);
      if (file !== undefined) return { place, file, known };
      this.context.notices.push(`went on without the journal ${place.shown}: the slab has all writes (--force)`);
    }
    return undefined;
  }

  /** What is brought home is not expected of a slab or a journal again: after a kill from here on too. */
  private recover(place: JournalPlace, known: KnownJournal, state: State): void {
    const { states, backing, root, config, notices, progress } = this.context;
    const { force } = config;
    const options = { root, backing, place, id: known.id, owner: backing, force, progress };
    const { replayed, notices: more } = recover(options);
    notices.push(...more);
    if (replayed !== undefined) notices.push(broughtHome(replayed));
    states.write({ ...state, serving: false });
    endKnown(place, known, undefined);
    states.removeState();
  }

  /** The journal to make; undefined: this mount has none. Throws a `Failure` when there must be one and cannot. */
  plan(): PlannedJournal | undefined {
    const { config, states, backing } = this.context;
    if (!config.engine.cache) return undefined;
    const place = placeOf(config.journal, states);
    const file = vacant(place, backing);
    try {
      const bytes = this.bytesFor(place, file);
      if (bytes !== undefined)
        return { place, file, bytes, known: { path: config.journal, id: randomBytes(16).toString("hex") } };
    } catch (error) {
      file?.close();
      throw error;
    }
    file?.close();
    return undefined;
  }

  private bytesFor(place: JournalPlace, file: PositionedFile | undefined): number | undefined {
    const { config, backing, notices } = this.context;
    if (file?.isDevice === true) return bytesOfDevice(place, file, config.journalBytes);
    if (config.journalBytes !== undefined) return config.journalBytes;
    const { free, inMemory } = roomAt(place.path === "" ? `/proc/self/fd/${this.context.root}` : dirname(place.real));
    if (free >= 2 * JOURNAL_BYTES_MIN) {
      if (inMemory) return JOURNAL_BYTES_MIN; // it goes with the host as the images do
      const share = Math.floor((free * JOURNAL_FREE_SHARE) / BLOCK_BYTES) * BLOCK_BYTES;
      return Math.min(JOURNAL_BYTES_DEFAULT, Math.max(JOURNAL_BYTES_MIN, share));
    }
    if (place.path !== "") throw notMade(place, JOURNAL_BYTES_MIN, -E.ENOSPC);
    const why = `${formatSize(free)} are free, a journal needs ${formatSize(2 * JOURNAL_BYTES_MIN)}`;
    if (config.engine.settings.durability === "ordered")
      throw new Failure(
        `${backing}: --durability ordered needs a journal, and ${why}; free some, or give a --journal elsewhere`,
      );
    notices.push(`no journal: ${why}; flushes take their image home`);
    return undefined;
  }

  /** Makes it; on stable media when this returns. */
  make({ place, file, bytes, known }: PlannedJournal): MountJournal {
    const { seconds } = systemClock().civil();
    const { backing } = this.context;
    const made = createJournal({ place, file, bytes, id: known.id, backing, nowMs: seconds * 1000 });
    return { place, known, file: made };
  }
}

/** Ends a journal: all is home. */
export const endMountJournal = ({ place, file }: MountJournal): void => endJournal(place, file);

export const broughtHome = ({ commits, images, blocks }: Replayed): string =>
  commits === 0
    ? "recovered: the journal held nothing that was not home"
    : `recovered: ${formatSize(blocks * BLOCK_BYTES)} of ${images} image${images === 1 ? "" : "s"} brought home from ${commits} commit${commits === 1 ? "" : "s"} of the journal`;

function roomAt(path: string): { free: number; inMemory: boolean } {
  try {
    const { bavail, bsize, type } = statfsSync(path);
    return { free: bavail * bsize, inMemory: type === TMPFS };
  } catch {
    return { free: Number.POSITIVE_INFINITY, inMemory: false }; // making the journal will say what is wrong
  }
}

function bytesOfDevice({ shown }: JournalPlace, file: PositionedFile, wanted: number | undefined): number {
  if (wanted !== undefined) throw new Failure(`${shown}: a device is used whole; leave --journal-size out`);
  const bytes = Math.floor(file.size / BLOCK_BYTES) * BLOCK_BYTES;
  if (bytes >= JOURNAL_BYTES_MIN) return bytes;
  throw new Failure(
    `${shown}: ${formatSize(bytes)} long, a journal needs ${formatSize(JOURNAL_BYTES_MIN)}; give another --journal`,
  );
}
