/** Both kinds of `Io` for the shared suites, and native memory for their payloads. */
import type { Done, Io } from "../../src/sys/io.ts";
import { Mapping } from "../../src/sys/memory.ts";
import { ThreadsIo } from "../../src/sys/threads.ts";
import { UringIo } from "../../src/sys/uring.ts";

/** Every implementation; the tiny ring of 8 submissions and 16 completions is there so that tests run over its edges. */
export const implementations: [string, () => Io][] = [
  ["uring", () => new UringIo()],
  ["uring with a tiny ring", () => new UringIo(8, 16)],
  ["threads", () => new ThreadsIo(3)],
];

/** A wait that is long enough for anything that happens at all, microseconds. */
export const LONG_US = 2_000_000;

const IOVEC_BYTES = 65536;
const memory = Mapping.anonymous(4 * 2 ** 20);
const iovecs = new BigInt64Array(memory.view(0, IOVEC_BYTES));
/** Payload memory. */
export const bytes = Buffer.from(memory.view(IOVEC_BYTES, memory.bytes - IOVEC_BYTES));

/** The address of payload byte `at`. */
export const addressOf = (at: number): number => memory.address + IOVEC_BYTES + at;

/** Describes `length` payload bytes from `at` in iovec `index` (below 4096); the iovec's address. */
export function iovec(index: number, at: number, length: number): number {
  iovecs[index * 2] = BigInt(addressOf(at));
  iovecs[index * 2 + 1] = BigInt(length);
  return memory.address + index * 16;
}

/** Submits one operation and waits for its result. */
export function resultOf(io: Io, submit: (done: Done) => void): number {
  const results: number[] = [];
  submit((value) => results.push(value));
  for (let waits = 0; results.length === 0 && waits < 20; waits += 1) io.wait(LONG_US);
  if (results.length !== 1) throw new Error(`the operation finished ${results.length} times`);
  return results[0]!;
}

/** Waits until nothing is in flight. */
export function drain(io: Io): void {
  const deadline = performance.now() + 20_000;
  while (io.inflight > 0) {
    if (performance.now() > deadline) throw new Error(`${io.inflight} operations never finished`);
    io.wait(LONG_US);
  }
}
