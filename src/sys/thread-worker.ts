/** One thread of the pool: takes jobs, makes blocking system calls, says what came of them. Never returns to its event loop. */
import { workerData } from "node:worker_threads";
import { E } from "../base/errno.ts";
import { RWF_DSYNC } from "./constants.ts";
import * as libc from "./libc.ts";
import { Kind } from "./operations.ts";
import { Control, JOBS, type Shared, type WorkerTask } from "./thread-layout.ts";

const SYS_gettid = process.arch === "arm64" ? 178 : 186;
/** Pause after an EAGAIN, milliseconds. */
const RETRY_MS = 1;

const { shared, index, eventFd } = workerData as WorkerTask;
const { control } = shared;
const offsets = Buffer.alloc(16);
const one = Buffer.alloc(8);
one.writeBigInt64LE(1n);
const oneAddress = libc.addressOfBuffer(one);

Atomics.store(control, Control.threads + index, libc.syscall(SYS_gettid, 0, 0, 0, 0, 0, 0));
Atomics.notify(control, Control.threads + index);
while (Atomics.load(control, Control.stop) === 0) serveOne(shared);

/** Sleeps until there is a job or the pool ends, and does the job unless another thread was first. */
function serveOne({ queue, result, kind }: Shared): void {
  const head = Atomics.load(control, Control.head);
  const tail = Atomics.load(control, Control.tail);
  if (head === tail) {
    Atomics.wait(control, Control.tail, tail);
    return;
  }
  const job = Atomics.load(queue, head & (JOBS - 1));
  if (Atomics.compareExchange(control, Control.head, head, (head + 1) | 0) !== head) return;
  let value = perform(shared, job);
  while ((value === -E.EINTR || value === -E.EAGAIN) && kind[job] !== Kind.close) {
    if (value === -E.EAGAIN) Atomics.wait(control, Control.stop, 0, RETRY_MS);
    value = perform(shared, job);
  }
  result[job] = value;
  finish(job);
}

/** Makes the result visible, then wakes the main thread if it listens: it listens before it looks, so none is missed. */
function finish(job: number): void {
  const place = Atomics.add(control, Control.finished, 1) & (JOBS - 1);
  Atomics.store(shared.finished, place, job + 1);
  if (Atomics.exchange(control, Control.listening, 0) === 1) libc.write(eventFd, oneAddress, 8);
}

function perform({ kind, fd, extra, address, offset, length }: Shared, job: number): number {
  const file = fd[job]!;
  const from = offset[job]!;
  switch (kind[job]!) {
    case Kind.readv:
      return libc.preadv(file, address[job]!, extra[job]!, from);
    case Kind.writev:
      return libc.pwritev(file, address[job]!, extra[job]!, from);
    case Kind.writeDurably:
      return libc.pwritev2(file, address[job]!, extra[job]!, from, RWF_DSYNC);
    case Kind.fsync:
      return libc.fsync(file);
    case Kind.fdatasync:
      return libc.fdatasync(file);
    case Kind.fallocate:
      return libc.fallocate(file, extra[job]!, from, length[job]!);
    case Kind.truncate:
      return libc.ftruncate(file, length[job]!);
    case Kind.syncfs:
      return libc.syncfs(file);
    case Kind.close:
      return libc.close(file);
    case Kind.copyRange:
      return copyRange(file, from, extra[job]!, address[job]!, length[job]!);
    default:
      return -E.ENOSYS;
  }
}

/** copy_file_range(2) at offsets given by value. */
function copyRange(fdIn: number, offsetIn: number, fdOut: number, offsetOut: number, length: number): number {
  offsets.writeBigInt64LE(BigInt(offsetIn), 0);
  offsets.writeBigInt64LE(BigInt(offsetOut), 8);
  return libc.copyFileRange(fdIn, offsets.subarray(0, 8), fdOut, offsets.subarray(8), length, 0);
}
