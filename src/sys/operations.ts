/**
 * The operations of one `Io` that have not been called back yet, as columns; a slot is an operation's number.
 * Every slot is in one place: the free list, the backlog (asked for, not begun), or with the kernel or a thread.
 * Free list and backlog are chains through `next`, so that nothing is allocated while the table need not grow.
 */
import { assert } from "../base/assert.ts";
import type { Done } from "./io.ts";

/** Kinds of operation. The columns that each uses are told in `threads.ts`, which calls them by name. */
export const Kind = {
  readv: 0,
  writev: 1,
  fsync: 2,
  fdatasync: 3,
  fallocate: 4,
  truncate: 5,
  syncfs: 6,
  close: 7,
  copyRange: 8,
  readable: 9,
  nop: 10,
  writeDurably: 11,
} as const;
export type Kind = (typeof Kind)[keyof typeof Kind];

const NONE = -1;
const unused: Done = () => assert(false, "a slot that is free must not complete");

export class Operations {
  kind: Uint8Array<ArrayBuffer>;
  fd: Int32Array<ArrayBuffer>;
  /** Entries of the iovec array; the mode of fallocate; the output descriptor of copyRange. */
  extra: Int32Array<ArrayBuffer>;
  /** Address of the iovec array; the output offset of copyRange. */
  address: Float64Array<ArrayBuffer>;
  offset: Float64Array<ArrayBuffer>;
  length: Float64Array<ArrayBuffer>;
  /** 1 after an EAGAIN or EINTR. */
  retried: Uint8Array<ArrayBuffer>;
  /** Slots in use. */
  used = 0;
  /** Slots in the backlog. */
  waiting = 0;

  private next: Int32Array<ArrayBuffer>;
  private readonly done: Done[] = [];
  private free = NONE;
  private first = NONE;
  private last = NONE;

  constructor(capacity: number) {
    this.kind = new Uint8Array(0);
    this.fd = new Int32Array(0);
    this.extra = new Int32Array(0);
    this.address = new Float64Array(0);
    this.offset = new Float64Array(0);
    this.length = new Float64Array(0);
    this.retried = new Uint8Array(0);
    this.next = new Int32Array(0);
    this.grow(capacity);
  }

  /** Takes a slot for an operation and puts it at the end of the backlog. */
  add(kind: Kind, fd: number, extra: number, address: number, offset: number, length: number, done: Done): number {
    if (this.free === NONE) this.grow(this.kind.length * 2);
    const slot = this.free;
    this.free = this.next[slot]!;
    this.kind[slot] = kind;
    this.fd[slot] = fd;
    this.extra[slot] = extra;
    this.address[slot] = address;
    this.offset[slot] = offset;
    this.length[slot] = length;
    this.retried[slot] = 0;
    this.done[slot] = done;
    this.used += 1;
    this.queue(slot);
    return slot;
  }

  /** Puts a slot at the end of the backlog (again, when it is to be retried). */
  queue(slot: number): void {
    this.next[slot] = NONE;
    if (this.last === NONE) this.first = slot;
    else this.next[this.last] = slot;
    this.last = slot;
    this.waiting += 1;
  }

  /** Takes the oldest slot out of the backlog, which must not be empty. */
  take(): number {
    const slot = this.first;
    assert(slot !== NONE, "only a backlog that has something is taken from");
    this.first = this.next[slot]!;
    if (this.first === NONE) this.last = NONE;
    this.waiting -= 1;
    return slot;
  }

  /** Gives the slot back; the caller calls what is returned. */
  finish(slot: number): Done {
    const done = this.done[slot]!;
    this.done[slot] = unused;
    this.next[slot] = this.free;
    this.free = slot;
    this.used -= 1;
    return done;
  }

  private grow(capacity: number): void {
    const old = this.kind.length;
    this.kind = grown(this.kind, new Uint8Array(capacity));
    this.fd = grown(this.fd, new Int32Array(capacity));
    this.extra = grown(this.extra, new Int32Array(capacity));
    this.address = grown(this.address, new Float64Array(capacity));
    this.offset = grown(this.offset, new Float64Array(capacity));
    this.length = grown(this.length, new Float64Array(capacity));
    this.retried = grown(this.retried, new Uint8Array(capacity));
    this.next = grown(this.next, new Int32Array(capacity));
    for (let slot = capacity - 1; slot >= old; slot -= 1) {
      this.done[slot] = unused;
      this.next[slot] = this.free;
      this.free = slot;
    }
  }
}

function grown<T extends Uint8Array | Int32Array | Float64Array>(from: T, to: T): T {
  to.set(from);
  return to;
}
