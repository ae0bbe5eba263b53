/**
 * What the cache last saw of an image's backing file, kept in the slab, so that the next mount can tell whether somebody else
 * has changed the file beneath unsaved data.
 *
 *   firm    nothing of ours has touched the file since: size and modification time must be the same
 *   loose   home writes have begun since, and nothing has been quiet for long: it may be longer now, up to the image's size, and of
 *           any time. So of an image that is written home all the time only the size can tell
 *   none    an operation on its shape has begun since: anything may be
 *
 * A note is loosened or dropped before the operation that it is about begins, and made firm by a look at the file when none
 * has been under way for a while (a look is not free: `writeback/image-home.ts`): whenever the engine is killed, what we ourselves may have done is accepted. The change time is not
 * compared: chmod, a hard link or a relabelling set it, and change no data.
 */
import { dateText } from "../base/clock.ts";
import { ImageFlag } from "./image.ts";
import type { Image } from "./images.ts";

/** Notes how the file is now; what was noted before stays when it cannot be seen. Nothing of ours that changes it may be under way. */
export function noteHome(image: Image): void {
  const seen = image.file.look();
  if (seen === undefined) return;
  image.clearFlag(ImageFlag.firm | ImageFlag.loose); // a kill between the stores leaves no note, not half of one
  image.table.setNote(image.slot, seen);
  image.setFlag(ImageFlag.firm);
}

/** Home writes are about to begin. */
export function loosenNote(image: Image): void {
  if (!image.hasFlag(ImageFlag.firm)) return;
  image.setFlag(ImageFlag.loose);
  image.clearFlag(ImageFlag.firm);
}

/** All of the image is home, and its size will no longer be told apart from its file's: a loose note must allow it. */
export function noteSize(image: Image): void {
  const { size, modifiedMs } = image.table.note(image.slot);
  if (image.hasFlag(ImageFlag.loose) && size !== image.size)
    image.table.setNote(image.slot, { size: image.size, modifiedMs });
}

/** The file's shape is about to change, or nothing is dirty any more. */
export function dropNote(image: Image): void {
  if (image.hasFlag(ImageFlag.firm | ImageFlag.loose)) image.clearFlag(ImageFlag.firm | ImageFlag.loose);
}

/** Runs `change`, which is ours, changes at most the file's time, and is over when it returns. */
export function keepingNote<T>(image: Image, change: () => T): T {
  const firm = image.hasFlag(ImageFlag.firm);
  loosenNote(image);
  const outcome = change();
  if (firm) noteHome(image);
  return outcome;
}

/** How the file differs from what the note allows, for people; undefined: it does not. */
export function differenceOf(image: Image): string | undefined {
  const { size, modifiedMs } = image.table.note(image.slot);
  const now = image.file.look();
  if (now === undefined) return undefined; // whatever is written there will fail
  if (image.hasFlag(ImageFlag.firm)) {
    if (now.size !== size) return `${now.size} bytes long, was ${size}`;
    return now.modifiedMs === modifiedMs
      ? undefined
      : `modified ${dateText(now.modifiedMs)}, was ${dateText(modifiedMs)}`;
  }
  if (!image.hasFlag(ImageFlag.loose)) return undefined;
  const longest = image.hasFlag(ImageFlag.size) ? Math.max(size, image.size) : size;
  if (now.size >= size && now.size <= longest) return undefined;
  return `${now.size} bytes long, was ${size}${longest > size ? ` to ${longest}` : ""}`;
}
