/**
 * What an engine finds beneath unsaved data that an earlier one left: images that are gone, replaced, or changed by somebody else.
 * Nothing is written over those and nothing is dropped: the mount is refused, unless the user decides by `--force`.
 */
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { InodeSlot } from "../base/units.ts";
import { ImageFlag } from "../cache/image.ts";
import { differenceOf, noteHome } from "../cache/note.ts";
import type { Sizes } from "../device/home-file.ts";
import type { Inodes } from "../fs/inodes.ts";
import { S } from "../sys/constants.ts";
import type { Volume } from "../volume/volume.ts";
import type { EngineConfig } from "./config.ts";
import { pathOf } from "./paths.ts";

/**
 * With `--force`, before the data is taken in: a replaced image's data belongs to the file that has its name now. Returns
 * the slots of images that are gone, whose data has no place to go.
 */
export function takeAsTheyAre(inodes: Inodes, log: Log): Set<InodeSlot> {
  const gone = new Set<InodeSlot>();
  inodes.each((slot) => {
    if ((inodes.records.mode(slot) & S.IFMT) !== S.IFREG) return;
    const fate = inodes.fate(slot);
    if (fate === "gone") {
      const flags = inodes.images.flags(slot);
      if (flags & ImageFlag.mtime)
        log.error(`${pathOf(inodes, slot)} is gone: what was not yet home of it is dropped (--force)`);
      inodes.images.setFlags(slot, flags & ImageFlag.held);
      gone.add(slot);
    } else if (fate === "replaced" && inodes.recognise(slot)) {
      log.warn(`${pathOf(inodes, slot)} was replaced: unsaved data goes over the file that has its name now (--force)`);
    }
  });
  return gone;
}

/**
 * The file of `slot`, which has unsaved data, could not be opened by an engine's successor. Guests of the other images must not suffer for
 * it: its data is kept in the slab, and the mount goes on. What size it may have when it is back.
 */
export function keepOfMissing(inodes: Inodes, log: Log, slot: InodeSlot, result: number): Sizes {
  const image = pathOf(inodes, slot);
  const why = whyLost(inodes, slot, result);
  log.error({ image }, `${image} (${why}): its unsaved data is kept in the cache; put it back as it was`);
  const { images } = inodes;
  const flags = images.flags(slot);
  const least = images.note(slot).size;
  const mayHaveGrown = (flags & ImageFlag.loose) !== 0 && (flags & ImageFlag.size) !== 0;
  return { least, most: mayHaveGrown ? Math.max(least, images.size(slot)) : least };
}

export interface Examination {
  config: EngineConfig;
  log: Log;
  /** A mount of its own takes the data in; else an engine's successor, under guests that went on meanwhile. */
  anew: boolean;
}

/** Looks at every image that has unsaved data. `lost` could not be opened. Throws a refusal that names them all. */
export function examine(
  inodes: Inodes,
  volume: Volume,
  lost: ReadonlyMap<InodeSlot, number>,
  { config, log, anew }: Examination,
): void {
  const found = [...lost].map(([slot, result]) => `${pathOf(inodes, slot)} (${whyLost(inodes, slot, result)})`);
  for (const image of anew ? volume.openImages : []) {
    const difference = differenceOf(image);
    if (difference === undefined) continue;
    const what = `${pathOf(inodes, image.slot)} (${difference})`;
    if (config.force) {
      log.warn(`${what}: unsaved data goes over it (--force)`);
      image.growTo(image.table.note(image.slot).size); // or data beyond its end would have no place
    } else {
      found.push(what);
    }
  }
  if (found.length > 0) throw refusal(config.backing, found);
  if (anew) for (const image of volume.openImages) noteHome(image); // as they are, they were accepted
}

function whyLost(inodes: Inodes, slot: InodeSlot, result: number): string {
  if (result !== -E.ESTALE) return errnoName(result);
  return inodes.fate(slot) === "gone" ? "gone" : "replaced by another file";
}

function refusal(backing: string, found: readonly string[]): Failure {
  const what = `${backing}: images with unsaved data were changed beneath it: ${found.join(", ")}`;
  const todo = "nothing was written; put them back as they were, or mount with --force to write the unsaved data over";
  return new Failure(`${what}; ${todo} what is there now (of images that are gone it is dropped)`, ExitCode.refused);
}
