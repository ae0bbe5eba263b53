/**
 * What the engine was about to do and how it ended, by request, in the slab: so that a request that the kernel sends again
 * after the engine was killed is not executed twice, and no name in the inode records is left half changed.
 *
 *   1. READ of request 7 (RENAME a b)      2. intent: 7, RENAME, a, b, inode of a      3. renameat2
 *   4. the inode record gets its new name  5. result: 7 ended with 0                   6. reply
 *
 * Killed after 1: nothing is here; the resent request is executed. After 2: `settle.ts` finds a still where it was and
 * forgets the intent; executed. After 3 or in 4: it finds the inode at b, sets the record and the result. After 5: the resent
 * request gets that result. A false EEXIST or ENOENT would come from executing again after 3. Not told apart: a name that
 * somebody makes or removes beneath the mount between 2 and the restart.
 *
 * The region (64 KiB of the slab) begins with 4096 bytes of the session: what INIT agreed on, from 1024 on the settings, from
 * 3072 on what the journal acknowledged (`engine/journal.ts`). Then come entries of 640 bytes:
 *
 *   0  u32 state (EntryState)     4  u32 opcode            8  u32 unique, low        12 u32 unique, high
 *   16 i32 result                 20 u32 subject's slot    24 u32 parent's slot      28 u32 new parent's slot
 *   32 u32 replaced file's slot   36 u32 flags             40 subject inode key: u16 length, 62 bytes
 *   104 name: u16 length, 255 bytes                        364 new name: u16 length, 255 bytes
 */
import { assert } from "../base/assert.ts";
import type { InodeSlot } from "../base/units.ts";
import type { Request } from "../fuse/request.ts";

const FIRST_AT = 4096;
const ENTRY_BYTES = 640;
const ENTRIES = 64;
/** Behind the entries: u32, which entry is the oldest. A new engine must not begin with one that it still needs. */
const NEXT_AT = ENTRIES * ENTRY_BYTES;
const KEY_AT = 40;
const NAME_AT = 104;
const NEW_NAME_AT = 364;

export const EntryState = { free: 0, intent: 1, done: 2 } as const;
/** Stands for "no slot". */
export const NO_SLOT = 0xffffffff;

/** What an operation is about to do. Fields that it has no use for are absent. */
export interface Intent {
  subject?: InodeSlot;
  /** The inode key of the file that the operation moves, removes or links. */
  key?: string;
  parent?: InodeSlot;
  name?: string;
  newParent?: InodeSlot;
  newName?: string;
  /** The slot of a file whose name the operation takes. */
  replaced?: InodeSlot;
  flags?: number;
}

export class Memory {
  private readonly view: DataView;
  private readonly bytes: Buffer;

  constructor(region: ArrayBuffer) {
    assert(region.byteLength >= FIRST_AT + NEXT_AT + 4, "the memory region holds all entries");
    this.view = new DataView(region, FIRST_AT, NEXT_AT + 4);
    this.bytes = Buffer.from(region, FIRST_AT, NEXT_AT);
  }

  /** The result that an earlier engine reached for this request; undefined: execute it. */
  recall(request: Request): number | undefined {
    if (!request.resent) return undefined;
    const at = this.entryOf(request);
    return at >= 0 && this.state(at) === EntryState.done ? this.view.getInt32(at + 16, true) : undefined;
  }

  /** The subject of this resent request, as `subjectKnown` recorded it; NO_SLOT if none. */
  subjectOf(request: Request): number {
    const at = this.entryOf(request);
    return at < 0 ? NO_SLOT : this.slot(at, 20);
  }

  private entryOf(request: Request): number {
    for (let at = 0; at < NEXT_AT; at += ENTRY_BYTES) {
      if (this.state(at) === EntryState.free || this.opcode(at) !== request.opcode) continue;
      if (this.slot(at, 8) === request.uniqueLow && this.slot(at, 12) === request.uniqueHigh) return at;
    }
    return -1;
  }

  /**
   * Executes `act` between intent and result, or returns what an earlier engine's execution returned. `opcode` and the
   * request's number name it. `act` changes names and records; the reply is built after it, from what is then true.
   */
  once(request: Request, intent: Intent, act: () => number): number {
    const past = this.recall(request);
    if (past !== undefined) return past;
    const at = this.begin(request.opcode, request.uniqueLow, request.uniqueHigh, intent);
    const result = act();
    this.end(at, result);
    return result;
  }

  /** Records an intent; where it lies. */
  begin(opcode: number, uniqueLow: number, uniqueHigh: number, intent: Intent): number {
    const next = this.view.getUint32(NEXT_AT, true) % ENTRIES;
    this.view.setUint32(NEXT_AT, (next + 1) % ENTRIES, true);
    const at = next * ENTRY_BYTES;
    this.view.setUint32(at, EntryState.free, true);
    this.view.setUint32(at + 4, opcode, true);
    this.view.setUint32(at + 8, uniqueLow, true);
    this.view.setUint32(at + 12, uniqueHigh, true);
    this.view.setUint32(at + 20, intent.subject ?? NO_SLOT, true);
    this.view.setUint32(at + 24, intent.parent ?? NO_SLOT, true);
    this.view.setUint32(at + 28, intent.newParent ?? NO_SLOT, true);
    this.view.setUint32(at + 32, intent.replaced ?? NO_SLOT, true);
    this.view.setUint32(at + 36, intent.flags ?? 0, true);
    this.setText(at + KEY_AT, intent.key ?? "");
    this.setText(at + NAME_AT, intent.name ?? "");
    this.setText(at + NEW_NAME_AT, intent.newName ?? "");
    this.view.setUint32(at, EntryState.intent, true); // last: from here on a new engine settles it
    return at;
  }

  end(at: number, result: number): void {
    this.view.setInt32(at + 16, result, true);
    this.view.setUint32(at, EntryState.done, true);
  }

  /** Adds to an intent which record the operation has made. */
  subjectKnown(request: Request, slot: InodeSlot): void {
    const at = this.entryOf(request);
    if (at >= 0) this.view.setUint32(at + 20, slot, true);
  }

  /** Calls `settle` for every intent without a result; it returns the result, or undefined if nothing had been done. */
  settleEach(settle: (opcode: number, intent: Required<Intent>) => number | undefined): void {
    for (let at = 0; at < NEXT_AT; at += ENTRY_BYTES) {
      if (this.state(at) !== EntryState.intent) continue;
      const result = settle(this.opcode(at), this.intentAt(at));
      if (result === undefined) this.view.setUint32(at, EntryState.free, true);
      else this.end(at, result);
    }
  }

  /** Forgets everything: request numbers begin anew with each mount. */
  clear(): void {
    for (let at = 0; at < NEXT_AT; at += ENTRY_BYTES) this.view.setUint32(at, EntryState.free, true);
  }

  private intentAt(at: number): Required<Intent> {
    return {
      subject: this.slot(at, 20) as InodeSlot,
      parent: this.slot(at, 24) as InodeSlot,
      newParent: this.slot(at, 28) as InodeSlot,
      replaced: this.slot(at, 32) as InodeSlot,
      flags: this.slot(at, 36),
      key: this.text(at + KEY_AT),
      name: this.text(at + NAME_AT),
      newName: this.text(at + NEW_NAME_AT),
    };
  }

  private state(at: number): number {
    return this.view.getUint32(at, true);
  }
  private opcode(at: number): number {
    return this.view.getUint32(at + 4, true);
  }
  private slot(at: number, offset: number): number {
    return this.view.getUint32(at + offset, true);
  }
  private setText(at: number, text: string): void {
    this.bytes.write(text, at + 2, "latin1");
    this.bytes.writeUInt16LE(text.length, at);
  }
  private text(at: number): string {
    return this.bytes.toString("latin1", at + 2, at + 2 + this.bytes.readUInt16LE(at));
  }
}
