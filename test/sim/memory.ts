/** Native memory for a simulation: found by address, and used again by the next engine instead of being mapped anew. */
import * as libc from "../../src/sys/libc.ts";
import { Mapping } from "../../src/sys/memory.ts";

const WINDOW_BYTES = 2 ** 26;
const windows = new Map<number, Uint8Array>();

/** Calls `each` with the bytes at `address`, in one or two pieces; `done` is how many came before. */
export function forBytes(address: number, length: number, each: (bytes: Uint8Array, done: number) => void): void {
  for (let done = 0; done < length; ) {
    const at = address + done;
    const window = Math.floor(at / WINDOW_BYTES);
    let view = windows.get(window);
    if (view === undefined) {
      view = new Uint8Array(libc.viewMemory(window * WINDOW_BYTES, WINDOW_BYTES));
      windows.set(window, view);
    }
    const from = at - window * WINDOW_BYTES;
    const step = Math.min(length - done, WINDOW_BYTES - from);
    each(view.subarray(from, from + step), done);
    done += step;
  }
}

const entryBytes = new Uint8Array(2048 * 16);
const entryWords = new Uint32Array(entryBytes.buffer);

/** Entries of a native iovec array. */
export function iovecEntries(address: number, count: number): { address: number; length: number }[] {
  forBytes(address, count * 16, (piece, done) => entryBytes.set(piece, done));
  const entries = [];
  for (let at = 0; at < count * 4; at += 4)
    entries.push({ address: entryWords[at]! + entryWords[at + 1]! * 4294967296, length: entryWords[at + 2]! });
  return entries;
}

const mapAnew = Mapping.anonymous.bind(Mapping);
const shelves = new Map<number, { all: Mapping[]; used: number }>();

/** Makes anonymous mappings come from a store that `reuseMemory` gives free: an engine dies without unmapping anything. */
export function shareMemory(): void {
  Mapping.anonymous = (bytes) => {
    const shelf = shelves.get(bytes) ?? { all: [], used: 0 };
    shelves.set(bytes, shelf);
    if (shelf.used === shelf.all.length) shelf.all.push(withViewsKept(mapAnew(bytes)));
    return shelf.all[shelf.used++]!;
  };
}

/** The engine that used the memory is dead. */
export function reuseMemory(): void {
  for (const shelf of shelves.values()) shelf.used = 0;
}

/** Views are made once: an external ArrayBuffer costs more than all else that an engine's start does. */
export function withViewsKept(mapping: Mapping): Mapping {
  const views = new Map<string, ArrayBuffer>();
  const make = mapping.view.bind(mapping);
  mapping.view = (offset, length) => {
    const key = `${offset}+${length}`;
    const view = views.get(key) ?? make(offset, length);
    views.set(key, view);
    return view;
  };
  return mapping;
}
