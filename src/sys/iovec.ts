/** Native `struct iovec` arrays: 16 bytes an entry, address then length, 64 bits each. */
import { Mapping } from "./memory.ts";

export class IoVector {
  readonly address: number;
  private readonly words: Uint32Array;

  /** Room for `capacity` entries. */
  constructor(capacity: number, mapping = Mapping.anonymous(Math.ceil((capacity * 16) / 4096) * 4096), offset = 0) {
    this.address = mapping.address + offset;
    this.words = new Uint32Array(mapping.view(offset, capacity * 16));
  }

  /** Entry `index` names `length` bytes (below 4 GiB) at `address`. */
  set(index: number, address: number, length: number): void {
    const at = index * 4;
    this.words[at] = address >>> 0;
    this.words[at + 1] = Math.floor(address / 4294967296);
    this.words[at + 2] = length;
    this.words[at + 3] = 0;
  }

  /** True if entry `index` ends where `address` begins. */
  endsAt(index: number, address: number): boolean {
    const at = index * 4;
    return this.words[at]! + this.words[at + 1]! * 4294967296 + this.words[at + 2]! === address;
  }

  /** Makes entry `index` longer by `length` bytes. */
  extend(index: number, length: number): void {
    this.words[index * 4 + 2]! += length;
  }

  /** Bytes of entries `first` to `end` - 1. */
  bytes(first: number, end: number): number {
    let bytes = 0;
    for (let index = first; index < end; index++) bytes += this.words[index * 4 + 2]!;
    return bytes;
  }

  /** Drops the first `bytes` of `count` entries from `first` on; the entry that is then the first with bytes left. */
  advance(first: number, count: number, bytes: number): number {
    let index = first;
    let left = bytes;
    while (index < first + count && left >= this.words[index * 4 + 2]!) left -= this.words[index++ * 4 + 2]!;
    if (left > 0) {
      const at = index * 4;
      this.set(index, this.words[at]! + this.words[at + 1]! * 4294967296 + left, this.words[at + 2]! - left);
    }
    return index;
  }
}
