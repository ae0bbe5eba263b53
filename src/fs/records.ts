/**
 * The inode records in the slab, field by field; `cache/image.ts` draws the layout. A killed engine may leave any prefix of
 * a sequence of stores: a record is filled before `used` is set, and a name that changes has an intent in `memory.ts`.
 */
import { asSlot, type InodeSlot } from "../base/units.ts";
import { INODE_BYTES } from "../cache/slab.ts";
import type { Stat } from "../sys/stat.ts";

export const ROOT: InodeSlot = asSlot(0);
/** The parent of the root and of held records. */
export const NO_PARENT = -1;

export class Records {
  private readonly u32: Uint32Array;
  private readonly f64: Float64Array;
  private readonly bytes: Buffer;

  constructor(memory: ArrayBuffer) {
    this.u32 = new Uint32Array(memory);
    this.f64 = new Float64Array(memory);
    this.bytes = Buffer.from(memory);
  }

  private word(slot: InodeSlot, offset: number): number {
    return (slot * INODE_BYTES + offset) >>> 2;
  }
  private double(slot: InodeSlot, offset: number): number {
    return (slot * INODE_BYTES + offset) / 8;
  }

  used(slot: InodeSlot): boolean {
    return this.u32[this.word(slot, 0)] === 1;
  }
  setUsed(slot: InodeSlot, used: boolean): void {
    this.u32[this.word(slot, 0)] = used ? 1 : 0;
  }
  generation(slot: InodeSlot): number {
    return this.u32[this.word(slot, 4)]!;
  }
  /** Makes every node id that the kernel still has for `slot` stale. */
  age(slot: InodeSlot): void {
    this.u32[this.word(slot, 4)]!++;
  }
  parent(slot: InodeSlot): number {
    return this.f64[this.double(slot, 8)]!;
  }
  setParent(slot: InodeSlot, parent: number): void {
    this.f64[this.double(slot, 8)] = parent;
  }
  lookups(slot: InodeSlot): number {
    return this.f64[this.double(slot, 32)]!;
  }
  setLookups(slot: InodeSlot, count: number): void {
    this.f64[this.double(slot, 32)] = count;
  }
  mode(slot: InodeSlot): number {
    return this.u32[this.word(slot, 40)]!;
  }

  /** Device, inode number, birth and mode as `stat` says. */
  identify(slot: InodeSlot, stat: Stat): void {
    const at = this.word(slot, 0);
    this.u32[at + 4] = stat.inoLow;
    this.u32[at + 5] = stat.inoHigh;
    this.u32[at + 6] = stat.devMinor;
    this.u32[at + 7] = stat.devMajor;
    this.u32[at + 10] = stat.mode;
    this.f64[this.double(slot, 88)] = stat.birth;
  }

  /** True if `stat` is of the very file that the record stands for: inode numbers are used again, births are not. */
  matches(slot: InodeSlot, stat: Stat): boolean {
    const at = this.word(slot, 0);
    return (
      this.u32[at + 4] === stat.inoLow &&
      this.u32[at + 5] === stat.inoHigh &&
      this.u32[at + 6] === stat.devMinor &&
      this.u32[at + 7] === stat.devMajor &&
      (this.u32[at + 10]! & 0xf000) === stat.type &&
      this.f64[this.double(slot, 88)] === stat.birth
    );
  }

  /** Inode number in decimal, and birth: which file it is, whatever its name. */
  identity(slot: InodeSlot): { inode: string; birth: number } {
    const at = this.word(slot, 0);
    const inode = (BigInt(this.u32[at + 5]!) << 32n) | BigInt(this.u32[at + 4]!);
    return { inode: String(inode), birth: this.f64[this.double(slot, 88)]! };
  }

  /** The key of the record's inode in maps. */
  key(slot: InodeSlot): string {
    const at = this.word(slot, 0);
    return inodeKey(this.u32[at + 7]!, this.u32[at + 6]!, this.u32[at + 5]!, this.u32[at + 4]!);
  }

  name(slot: InodeSlot): string {
    const at = slot * INODE_BYTES;
    const length = this.bytes.readUInt16LE(at + 120);
    return this.bytes.toString("latin1", at + 122, at + 122 + length);
  }
  setName(slot: InodeSlot, name: string): void {
    const at = slot * INODE_BYTES;
    this.bytes.write(name, at + 122, "latin1");
    this.bytes.writeUInt16LE(name.length, at + 120);
  }

  /** How many records were ever in use: slots at or above it may have no memory yet. Kept with the root. */
  get everUsed(): number {
    return this.f64[this.double(ROOT, 80)]!;
  }
  set everUsed(count: number) {
    this.f64[this.double(ROOT, 80)] = count;
  }
}

const inodeKey = (devMajor: number, devMinor: number, inoHigh: number, inoLow: number): string =>
  `${devMajor}:${devMinor}:${inoHigh * 4294967296 + inoLow}${inoHigh >= 0x200000 ? `:${inoLow}` : ""}`;

export const keyOf = (stat: Stat): string => inodeKey(stat.devMajor, stat.devMinor, stat.inoHigh, stat.inoLow);
