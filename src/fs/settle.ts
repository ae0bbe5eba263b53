/** Finds out what became of operations that an engine began and did not end before it was killed; `memory.ts` has the steps. */
import { asSlot, type InodeSlot } from "../base/units.ts";
import { Opcode, RenameFlag } from "../fuse/constants.ts";
import * as libc from "../sys/libc.ts";
import { Stat } from "../sys/stat.ts";
import type { Inodes } from "./inodes.ts";
import { type Intent, type Memory, NO_SLOT } from "./memory.ts";
import { keyOf } from "./records.ts";

type Known = Required<Intent>;
/** The result if the operation was done, after setting its records right; undefined if nothing was done. */
type Settle = (intent: Known, inodes: Inodes) => number | undefined;

const stat = new Stat();

/** The inode key of what `name` in `parent` is now; empty: nothing, or the parent is lost. */
function keyAt(inodes: Inodes, parent: InodeSlot, name: string): string {
  const fd = inodes.directories.descriptor(parent);
  return fd >= 0 && stat.read(fd, libc.cstring(name)) === 0 ? keyOf(stat) : "";
}

const isHeldNow = (inodes: Inodes, slot: InodeSlot, key: string): boolean =>
  stat.read(inodes.held.fd, libc.cstring(inodes.held.nameOf(slot))) === 0 && keyOf(stat) === key;

/** The name was free before: if it is there now, the operation made it. */
const made: Settle = ({ parent, name }, inodes) => (keyAt(inodes, parent, name) === "" ? undefined : 0);

/** The kernel still has the temporary file's record only if the operation came to its end. */
const madeTemporary: Settle = ({ subject }, inodes) =>
  subject !== NO_SLOT && inodes.records.used(subject) && inodes.isHeld(subject) ? 0 : undefined;

const removed: Settle = ({ subject, key, parent, name }, inodes) => {
  if (keyAt(inodes, parent, name) === key) return undefined;
  if (subject !== NO_SLOT) settleHeld(inodes, subject, key);
  return 0;
};

/** Marks `slot` as held if its file has come to lie there. */
function settleHeld(inodes: Inodes, slot: InodeSlot, key: string): void {
  if (inodes.records.used(slot) && !inodes.isHeld(slot) && isHeldNow(inodes, slot, key)) inodes.unname(slot);
}

const renamed: Settle = (intent, inodes) => {
  if (keyAt(inodes, intent.newParent, intent.newName) !== intent.key) return undefined;
  if (intent.subject !== NO_SLOT) inodes.rename(intent.subject, intent.newParent, intent.newName);
  if (intent.replaced === NO_SLOT) return 0;
  if (intent.flags & RenameFlag.EXCHANGE) inodes.rename(intent.replaced, intent.parent, intent.name);
  else settleHeld(inodes, intent.replaced, inodes.records.key(intent.replaced));
  return 0;
};

/** A hard link that was found by looking it up, and taken as the record's name. */
const renamedByLookup: Settle = (intent, inodes) => {
  if (keyAt(inodes, intent.newParent, intent.newName) === intent.key) {
    inodes.rename(intent.subject, intent.newParent, intent.newName);
  }
  return undefined;
};

const rows = new Map<number, Settle>([
  [Opcode.CREATE, made],
  [Opcode.MKNOD, made],
  [Opcode.MKDIR, made],
  [Opcode.SYMLINK, made],
  [Opcode.LINK, made],
  [Opcode.TMPFILE, madeTemporary],
  [Opcode.UNLINK, removed],
  [Opcode.RMDIR, removed],
  [Opcode.RENAME, renamed],
  [Opcode.RENAME2, renamed],
  [Opcode.LOOKUP, renamedByLookup],
]);

/**
 * Makes the inode table of a slab that an earlier engine left fit for use. With `adopted` the mount is a new one: its kernel
 * knows no inode, so only those with dirty data, and the directories above them, are kept. The data side is attached;
 * `restoreData` lets it take in its own, once every record bears the name that its file has.
 */
export function restoreInodes(inodes: Inodes, memory: Memory, adopted: boolean, restoreData: () => void): void {
  inodes.load();
  memory.settleEach((opcode, intent) => rows.get(opcode)?.(intent, inodes));
  restoreData();
  if (adopted) {
    memory.clear();
    inodes.each((slot) => inodes.records.setLookups(slot, 0));
  }
  inodes.each((slot) => inodes.review(slot));
  inodes.held.sweep((name) => {
    const slot = asSlot(Number(name));
    return inodes.records.used(slot) && inodes.isHeld(slot) && inodes.held.nameOf(slot) === name;
  });
}
