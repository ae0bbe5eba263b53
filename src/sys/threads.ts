/** `Io` through worker threads and blocking system calls, for hosts that forbid io_uring. */
import { assert } from "../base/assert.ts";
import { E, errnoName } from "../base/errno.ts";
import { POLLIN } from "./constants.ts";
import type { Done, Io } from "./io.ts";
import * as libc from "./libc.ts";
import { Mapping } from "./memory.ts";
import { Kind } from "./operations.ts";
import { ThreadPool } from "./thread-pool.ts";

const SYS_ppoll = process.arch === "arm64" ? 73 : 271;
const THREADS = 4;
/** Most descriptors that can be armed at once. */
const ARMED_MAX = 64;
/** A pollfd is fd, then events and returned events in the halves of one word. The timespec follows the array. */
const POLLFD_WORDS = 2;
const TIMESPEC_BYTE = (ARMED_MAX + 1) * 8;
/** Longest sleep at once, microseconds: a day, so that Infinity needs no case of its own. */
const SLEEP_US_MAX = 86_400e6;
/** How many waits pass before the threads are looked after, when none of them was idle. */
const CHECK_WAITS = 4096;

export class ThreadsIo implements Io {
  readonly kind = "threads";

  private readonly pool: ThreadPool;
  private readonly memory = Mapping.anonymous(4096);
  /** The pollfd array: the pool's eventfd, then the armed descriptors, in the order of `ready`. */
  private readonly polls = new Int32Array(this.memory.view(0, TIMESPEC_BYTE));
  private readonly timespec = new Int32Array(this.memory.view(TIMESPEC_BYTE, 16));
  private readonly ready: (() => void)[] = [];
  private waits = 0;

  constructor(threads = THREADS) {
    this.pool = new ThreadPool(threads);
    this.polls[0] = this.pool.eventFd;
    this.polls[1] = POLLIN;
  }

  get inflight(): number {
    return this.pool.inflight;
  }

  /** Nothing to ask. */
  prepare(_fd: number): void {}

  readv(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    this.pool.add(Kind.readv, fd, iovCount, iovAddress, offset, 0, done);
  }

  writev(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    this.pool.add(Kind.writev, fd, iovCount, iovAddress, offset, 0, done);
  }

  writeDurably(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    this.pool.add(Kind.writeDurably, fd, iovCount, iovAddress, offset, 0, done);
  }

  fsync(fd: number, dataOnly: boolean, done: Done): void {
    this.pool.add(dataOnly ? Kind.fdatasync : Kind.fsync, fd, 0, 0, 0, 0, done);
  }

  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void {
    this.pool.add(Kind.fallocate, fd, mode, 0, offset, length, done);
  }

  truncate(fd: number, length: number, done: Done): void {
    this.pool.add(Kind.truncate, fd, 0, 0, 0, length, done);
  }

  syncfs(fd: number, done: Done): void {
    this.pool.add(Kind.syncfs, fd, 0, 0, 0, 0, done);
  }

  copyRange(fdIn: number, offsetIn: number, fdOut: number, offsetOut: number, length: number, done: Done): void {
    this.pool.add(Kind.copyRange, fdIn, fdOut, offsetOut, offsetIn, length, done);
  }

  close(fd: number, done: Done): void {
    this.pool.add(Kind.close, fd, 0, 0, 0, 0, done);
  }

  /** Threads would make it dearer, not cheaper. */
  post(): boolean {
    return false;
  }

  /** Nothing to tell. */
  whenPostFails(): void {}

  whenReadable(fd: number, ready: () => void): void {
    this.ready.push(ready);
    assert(this.ready.length <= ARMED_MAX, "only a few descriptors are waited for");
    const at = this.ready.length * POLLFD_WORDS;
    this.polls[at] = fd;
    this.polls[at + 1] = POLLIN;
  }

  /** Nothing to do: a killed process keeps its descriptors open until its last thread has left its system call. */
  hold(_fd: number): void {}

  /** Nothing to do: the threads have it already. */
  begin(): void {}

  wait(timeoutUs: number): void {
    const { pool } = this;
    const sleep = pool.ready() ? 0 : timeoutUs;
    if (this.ready.length > 0 || sleep > 0) {
      const found = this.poll(pool.inflight > 0 ? Math.min(sleep, ThreadPool.CHECK_US) : sleep);
      if (found > 0) this.takeReadable();
      this.look(found === 0 && sleep > 0);
    }
    pool.complete();
  }

  shutdown(): void {
    assert(this.inflight === 0, "an Io that is shut down has nothing in flight");
    this.pool.shutdown();
    this.memory.unmap();
  }

  /** Sleeps until a descriptor is ready, a result is there, or the time is over; how many descriptors are ready. */
  private poll(timeoutUs: number): number {
    if (timeoutUs > 0) this.pool.listen();
    const us = timeoutUs > 0 && this.pool.ready() ? 0 : Math.min(timeoutUs, SLEEP_US_MAX); // listen first, then look
    const seconds = Math.floor(us / 1e6);
    this.timespec[0] = seconds;
    this.timespec[2] = Math.floor((us - seconds * 1e6) * 1000);
    const time = this.memory.address + TIMESPEC_BYTE;
    const found = libc.syscall(SYS_ppoll, this.memory.address, this.ready.length + 1, time, 0, 0, 0);
    assert(found >= 0 || found === -E.EINTR, `ppoll must not fail with ${errnoName(found)}`);
    return found;
  }

  /** Sees to it that no thread has died: after an idle sleep, and every so many waits. */
  private look(idle: boolean): void {
    this.waits = (this.waits + 1) % CHECK_WAITS;
    if (this.pool.inflight > 0 && (idle || this.waits === 0)) this.pool.check();
  }

  /** Disarms the descriptors that are ready and runs their callbacks, which may arm them again. */
  private takeReadable(): void {
    const { polls, ready } = this;
    const due: (() => void)[] = [];
    let kept = 0;
    for (let i = 0; i < ready.length; i += 1) {
      const from = (i + 1) * POLLFD_WORDS;
      if (polls[from + 1]! >>> 16 !== 0) {
        due.push(ready[i]!);
        continue;
      }
      const to = (kept + 1) * POLLFD_WORDS;
      polls[to] = polls[from]!;
      polls[to + 1] = POLLIN;
      ready[kept] = ready[i]!;
      kept += 1;
    }
    ready.length = kept;
    for (const run of due) run();
  }
}
