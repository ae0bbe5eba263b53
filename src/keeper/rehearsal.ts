/** A recovery without its writes: what it would bring home, and whether it would refuse. */
import type { Identity } from "../journal/contract.ts";
import { type JournalFile, type Replayed, type ReplayFile, type ReplayTarget, replay } from "../journal/replay.ts";
import type { Superblock } from "../journal/superblock.ts";

export interface Rehearsed extends Replayed {
  /** Each image that would get something, and how much of its bytes. */
  perImage: { path: string; bytes: number }[];
}

/** Throws what the recovery would throw. `target` is only read. */
export function rehearse(
  journal: JournalFile,
  superblock: Superblock,
  target: ReplayTarget,
  names: { backing: string; journal: string },
): Rehearsed {
  const perImage: Rehearsed["perImage"] = [];
  const replayed = replay(
    unwritten(journal),
    { ...superblock },
    {
      nowMs: () => target.nowMs(),
      open(identity: Identity, path: string) {
        const file = target.open(identity, path);
        if (typeof file !== "object") return file;
        const image = { path: Buffer.from(path, "latin1").toString("utf8"), bytes: 0 };
        perImage.push(image);
        return counting(file, image);
      },
    },
    { ...names, force: false, progress: () => undefined },
  );
  return { ...replayed, perImage };
}

/** `journal`, which takes writes and forgets them. */
export const unwritten = (journal: JournalFile): JournalFile => ({
  size: journal.size,
  read: (offset, into) => journal.read(offset, into),
  write: (_, bytes) => bytes.length,
  flush: () => 0,
});

function counting(file: ReplayFile, image: { bytes: number }): ReplayFile {
  let { size } = file;
  return {
    get size() {
      return size;
    },
    modifiedMs: file.modifiedMs,
    write(offset, bytes) {
      image.bytes += bytes.length;
      size = Math.max(size, offset + bytes.length);
      return bytes.length;
    },
    truncate(length) {
      size = length;
      return 0;
    },
    zero: () => 0,
    wipe: () => 0,
    setModificationTime: () => 0,
    flush: () => 0,
    close: () => file.close(),
  };
}
