/**
 * What lies at a journal's place, and what is done about it. The journal that the state names:
 *
 *   fate       what lies there             done
 *   end        it, or what became of it    ended; what is another's, or no journal, is left alone
 *   recover    it                          brought home, then ended
 *   recover    anything else, nothing      refuse; --force: go on without
 *   carry      it                          carried on with
 *   carry      anything else, nothing      refuse; --force: a new one, the slab has everything
 *
 * Where a new one is to be made, at the place of the options:
 *
 *   nothing, blank                         made
 *   ours, with nothing in its log          made anew
 *   ours, with something in its log        refuse: `hypegear recover`
 *   of another directory                   refuse, and say whose, and whether it is in use
 *   damaged, resized, newer, alien, ...    refuse
 */
import { rmSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
import type { PositionedFile } from "../device/positioned-file.ts";
import { O } from "../sys/constants.ts";
import { endJournal, isEmptyLog, type JournalPlace, type Look, look } from "./journal-file.ts";
import { WRONG } from "./recovery.ts";
import type { KnownJournal } from "./state.ts";

/**
 * Ends the journal that a state names when nothing in it is needed. `owner`: the real path of the directory that a journal outside of
 * it must be of, since the state may have come with a copy; undefined: the journal was just brought home, whatever path it says.
 */
export function endKnown(place: JournalPlace, known: KnownJournal, owner: string | undefined): void {
  const found = look(place, O.RDWR);
  const { condition, superblock, file, isBusy } = found;
  const isIts =
    superblock?.id === known.id && (place.path === "" || owner === undefined || superblock.backing === owner);
  // The state was written before the file was made: beside it lies what became of that.
  const isRest = condition === "blank" || (place.path === "" && condition === "damaged");
  if (file !== undefined && isBusy !== true && (isIts || isRest)) endJournal(place, file);
  else file?.close();
}

/** The journal that belongs to the slab; undefined when it is not there and `force` goes on without. */
export function carried(
  place: JournalPlace,
  known: KnownJournal,
  backing: string,
  force: boolean,
): PositionedFile | undefined {
  const { condition, superblock, file, isBusy } = look(place, O.RDWR);
  if (isBusy !== true && superblock?.id === known.id) return file;
  file?.close();
  const what = `${backing}: its journal ${place.shown} ${isBusy === true ? "is in use" : WRONG[condition]}`;
  if (!force)
    throw new Failure(
      `${what}; bring it back, or go on without it with --force: the slab has all writes`,
      ExitCode.refused,
    );
  // Beside the state, whatever it was, it was ours, and the slab has more.
  if (place.path === "" && condition !== "newer" && isBusy !== true) rmSync(place.real, { force: true });
  return undefined;
}

/** Makes sure that a new journal may be made at `place`; what is blank there already is opened, for it to be made in. */
export function vacant(place: JournalPlace, backing: string): PositionedFile | undefined {
  const found = look(place, O.RDWR);
  if (found.condition === "absent") return undefined;
  if (found.condition === "blank" && found.isBusy !== true) return found.file;
  try {
    if (found.condition !== "good" || found.isBusy === true || found.superblock!.backing !== backing)
      throw occupied(place, found, backing);
    if (!isEmptyLog(found.file!, found.superblock!)) throw occupied(place, found, backing);
  } catch (error) {
    found.file?.close();
    throw error;
  }
  return found.file;
}

function occupied({ shown }: JournalPlace, { condition, superblock, isBusy }: Look, backing: string): Failure {
  const refuse = (why: string): Failure => new Failure(`${shown}: ${why}`, ExitCode.refused);
  const elsewhere = "give another --journal";
  if (superblock === undefined)
    return refuse(
      isBusy === true
        ? `is in use; ${elsewhere}`
        : condition === "alien" || condition === "other"
          ? `${WRONG[condition]}; give another path or remove it`
          : `this journal ${WRONG[condition]}; ${elsewhere}, or remove it if nothing in it is needed`,
    );
  const whose = superblock.backing;
  if (isBusy === true) return refuse(`is the journal of ${whose}, which is mounted; ${elsewhere}`);
  if (whose !== backing)
    return refuse(`is the journal of ${whose}, which may not have it all home; mount or recover that, or ${elsewhere}`);
  return refuse(`is a journal of this directory with writes that may not be home; hypegear recover ${backing}`);
}
