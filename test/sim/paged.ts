/**
 * The bytes of a file, in pages that copies share until one of them is written: a copy costs no more than a list of pages, and
 * what was never written costs nothing. Pages come from one store, which each history begins anew.
 */
import { BLOCK_BYTES } from "../../src/base/units.ts";

const PAGE_BYTES = BLOCK_BYTES;
const SHELF_PAGES = 256;

interface Page {
  readonly bytes: Uint8Array;
  /** Whose alone it is: only that one may write it. */
  owner: number;
}

/** Everybody's and nobody's. */
const ZEROS: Page = { bytes: new Uint8Array(PAGE_BYTES), owner: 0 };
const store: Page[] = [];
let used = 0;
let owners = 0;

/** All pages are free: nothing of the history that had them is looked at any more. */
export function reusePages(): void {
  used = 0;
}

function takePage(owner: number): Page {
  if (used === store.length) {
    const shelf = new Uint8Array(SHELF_PAGES * PAGE_BYTES);
    for (let at = 0; at < shelf.length; at += PAGE_BYTES)
      store.push({ bytes: shelf.subarray(at, at + PAGE_BYTES), owner: 0 });
  }
  const page = store[used++]!;
  page.owner = owner;
  return page;
}

export class PagedBytes {
  readonly length: number;
  private readonly pages: Page[];
  private owner = ++owners;

  /** Zeros. */
  constructor(length: number, pages?: Page[]) {
    this.length = length;
    this.pages = pages ?? Array.from({ length: Math.ceil(length / PAGE_BYTES) }, () => ZEROS);
  }

  /** The same bytes, which then change on their own. */
  copy(): PagedBytes {
    this.owner = ++owners;
    return new PagedBytes(this.length, this.pages.slice());
  }

  /** Calls `each` with the bytes of [low, high), page by page, and where they lie. They are not to be changed. */
  forEach(low: number, high: number, each: (bytes: Uint8Array, at: number) => void): void {
    const end = Math.min(high, this.length);
    for (let at = low; at < end; ) {
      const within = at % PAGE_BYTES;
      const count = Math.min(PAGE_BYTES - within, end - at);
      const { bytes } = this.pages[(at - within) / PAGE_BYTES]!;
      each(count === PAGE_BYTES ? bytes : bytes.subarray(within, within + count), at);
      at += count;
    }
  }

  /** Fills `into` from `offset` on: how many bytes there were. */
  read(offset: number, into: Uint8Array): number {
    this.forEach(offset, offset + into.length, (bytes, at) => into.set(bytes, at - offset));
    return Math.max(0, Math.min(into.length, this.length - offset));
  }

  slice(low: number, high: number): Uint8Array {
    const bytes = new Uint8Array(Math.max(0, Math.min(high, this.length) - low));
    this.read(low, bytes);
    return bytes;
  }

  byte(at: number): number {
    return this.pages[Math.floor(at / PAGE_BYTES)]!.bytes[at % PAGE_BYTES]!;
  }

  isZero(low: number, high: number): boolean {
    let isZero = true;
    this.forEach(low, high, (bytes) => {
      isZero &&= Buffer.compare(bytes, ZEROS.bytes.subarray(0, bytes.length)) === 0;
    });
    return isZero;
  }

  /** The first byte below `end` that `other` has otherwise; -1: none. */
  difference(other: PagedBytes, end: number): number {
    for (let index = 0; index * PAGE_BYTES < end; index++) {
      const [own, theirs] = [this.pages[index]!, other.pages[index]!];
      if (own === theirs) continue;
      const count = Math.min(PAGE_BYTES, end - index * PAGE_BYTES);
      const [left, right] = [own.bytes.subarray(0, count), theirs.bytes.subarray(0, count)];
      if (Buffer.compare(left, right) !== 0) return index * PAGE_BYTES + left.findIndex((byte, i) => byte !== right[i]);
    }
    return -1;
  }

  set(bytes: Uint8Array, offset: number): void {
    for (let done = 0; done < bytes.length; ) {
      const within = (offset + done) % PAGE_BYTES;
      const count = Math.min(PAGE_BYTES - within, bytes.length - done);
      const page = this.own((offset + done - within) / PAGE_BYTES, count === PAGE_BYTES);
      page.set(bytes.subarray(done, done + count), within);
      done += count;
    }
  }

  zero(low: number, high: number): void {
    const end = Math.min(high, this.length);
    for (let at = low; at < end; ) {
      const within = at % PAGE_BYTES;
      const count = Math.min(PAGE_BYTES - within, end - at);
      const index = (at - within) / PAGE_BYTES;
      if (count === PAGE_BYTES) this.pages[index] = ZEROS;
      else if (this.pages[index] !== ZEROS) this.own(index, false).fill(0, within, within + count);
      at += count;
    }
  }

  /** Takes over the bytes that `other` has in [low, high), which lie in one page. */
  take(other: PagedBytes, low: number, high: number): void {
    const index = Math.floor(low / PAGE_BYTES);
    const from = other.pages[index]!;
    if (from === this.pages[index]) return;
    const within = low - index * PAGE_BYTES;
    this.own(index, false).set(from.bytes.subarray(within, within + high - low), within);
  }

  /** The page at `index`, to be written; `anew`: what it has does not matter. */
  private own(index: number, anew: boolean): Uint8Array {
    const page = this.pages[index]!;
    if (page.owner === this.owner) return page.bytes;
    const own = takePage(this.owner);
    if (!anew) own.bytes.set(page.bytes);
    this.pages[index] = own;
    return own.bytes;
  }
}
