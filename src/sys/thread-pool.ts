/**
 * Worker threads that make blocking system calls on this process's memory. The main thread need not return to its event
 * loop: jobs and results pass through shared memory, and an eventfd says that there are results.
 */
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { systemClock } from "../base/clock.ts";
import { errnoName } from "../base/errno.ts";
import { Failure } from "../base/errors.ts";
import { O } from "./constants.ts";
import type { Done } from "./io.ts";
import * as libc from "./libc.ts";
import { Mapping } from "./memory.ts";
import { type Kind, Operations } from "./operations.ts";
import { Control, JOBS, newShared, THREADS_MAX, type WorkerTask } from "./thread-layout.ts";

const SYS_tgkill = process.arch === "arm64" ? 131 : 234;
/** Longest wait for one thread's start, milliseconds. */
const START_MS = 10_000;
/** Threads that are started together when all sleep in what hangs, and how many there are at most then. */
const MORE_THREADS = 8;
const MOST_THREADS = 48;

export class ThreadPool {
  /** How often a caller that waits for results must call `check`, microseconds. */
  static readonly CHECK_US = 1_000_000;

  /** Readable when results are there and `listen` was called before. */
  readonly eventFd: number;

  private readonly shared = newShared();
  private readonly operations = new Operations(JOBS);
  /** The operation of each job, and the jobs that are free, `freeJobs` of them. */
  private readonly slots = new Int32Array(JOBS);
  private readonly free = Int32Array.from({ length: JOBS }, (_, job) => job);
  private freeJobs = JOBS;
  /** Place in the ring of finished jobs that is looked at next. */
  private seen = 0;
  private readonly counter = Mapping.anonymous(4096);
  private threads: number;
  /** Jobs finished so far; how many they were when it was last looked whether they get on, and that they did not then. */
  private completed = 0;
  private completedBefore = 0;
  private isStuck = false;
  private readonly clock = systemClock();
  private lookedAtUs = 0;

  /** Starts `threads` threads. They are ready some milliseconds later; jobs may be given at once. */
  constructor(threads: number) {
    if (threads < 1 || threads > THREADS_MAX)
      throw new RangeError(`a pool has 1 to ${THREADS_MAX} threads: ${threads}`);
    this.threads = threads;
    this.eventFd = libc.eventfd(0, O.NONBLOCK | O.CLOEXEC);
    if (this.eventFd < 0) throw new Failure(`threads: no eventfd: ${errnoName(this.eventFd)}`);
    this.listen();
    for (let index = 0; index < threads; index += 1) this.start(index);
    process.on("exit", this.awaitStart);
  }

  get inflight(): number {
    return this.operations.used;
  }

  /** Gives a job to the threads. The columns are those of `Operations`; `thread-worker.ts` says which call uses which. */
  add(kind: Kind, fd: number, extra: number, address: number, offset: number, length: number, done: Done): void {
    this.operations.add(kind, fd, extra, address, offset, length, done);
    if (this.freeJobs > 0) this.hand();
  }

  /** Asks for the eventfd at the next result; results that were there before are found by `complete`. */
  listen(): void {
    libc.read(this.eventFd, this.counter.address, 8);
    Atomics.store(this.shared.control, Control.listening, 1);
  }

  /** Whether `complete` would run something. */
  ready(): boolean {
    return Atomics.load(this.shared.finished, this.seen) !== 0;
  }

  /** Runs the callbacks of what is finished now. */
  complete(): void {
    const { finished, result } = this.shared;
    for (let n = JOBS - this.freeJobs; n > 0 && this.ready(); n -= 1) {
      const job = Atomics.exchange(finished, this.seen, 0) - 1;
      this.seen = (this.seen + 1) & (JOBS - 1);
      this.completed += 1;
      const done = this.operations.finish(this.slots[job]!);
      const value = result[job]!;
      this.free[this.freeJobs] = job;
      this.freeJobs += 1;
      if (this.operations.waiting > 0) this.hand();
      done(value);
    }
  }

  /**
   * Throws Failure if a thread has died: what it was doing would never finish. If jobs wait and none finishes for CHECK_US, starts more
   * threads: those that are there may all sleep in one device that hangs.
   */
  check(): void {
    for (let index = 0; index < this.threads; index += 1) {
      const thread = Atomics.load(this.shared.control, Control.threads + index);
      if (thread !== 0 && libc.syscall(SYS_tgkill, process.pid, thread, 0, 0, 0, 0) < 0) {
        throw new Failure(`threads: I/O thread ${index} has died, ${this.inflight} operations are unfinished`);
      }
    }
    const nowUs = this.clock.nowUs();
    if (nowUs - this.lookedAtUs < ThreadPool.CHECK_US) return;
    const wasStuck = this.isStuck;
    this.isStuck = this.inflight > this.threads && this.completed === this.completedBefore;
    if (this.isStuck && wasStuck) this.grow();
    this.completedBefore = this.completed;
    this.lookedAtUs = nowUs;
  }

  private grow(): void {
    for (let left = MORE_THREADS; left > 0 && this.threads < MOST_THREADS; left -= 1) {
      this.start(this.threads);
      this.threads += 1;
    }
  }

  /** Ends the threads, which takes them a moment more. */
  shutdown(): void {
    this.awaitStart();
    process.off("exit", this.awaitStart);
    Atomics.store(this.shared.control, Control.stop, 1);
    Atomics.add(this.shared.control, Control.tail, 1); // so that a thread about to sleep on the old tail does not
    Atomics.notify(this.shared.control, Control.tail);
    libc.close(this.eventFd);
    this.counter.unmap();
  }

  /** Waits until every thread has started: one that is ended while it still loads native code aborts the whole process. */
  private readonly awaitStart = (): void => {
    for (let index = 0; index < this.threads; index += 1) {
      Atomics.wait(this.shared.control, Control.threads + index, 0, START_MS);
    }
  };

  /** Moves the oldest waiting operation into a free job, and wakes a thread for it. */
  private hand(): void {
    const { operations, shared } = this;
    const slot = operations.take();
    this.freeJobs -= 1;
    const job = this.free[this.freeJobs]!;
    this.slots[job] = slot;
    shared.kind[job] = operations.kind[slot]!;
    shared.fd[job] = operations.fd[slot]!;
    shared.extra[job] = operations.extra[slot]!;
    shared.address[job] = operations.address[slot]!;
    shared.offset[job] = operations.offset[slot]!;
    shared.length[job] = operations.length[slot]!;
    const tail = Atomics.load(shared.control, Control.tail);
    Atomics.store(shared.queue, tail & (JOBS - 1), job);
    Atomics.store(shared.control, Control.tail, (tail + 1) | 0);
    Atomics.notify(shared.control, Control.tail, 1);
  }

  private start(index: number): void {
    const task: WorkerTask = { shared: this.shared, index, eventFd: this.eventFd };
    const worker = new Worker(workerFile(), { workerData: task, execArgv: [] });
    worker.unref();
  }
}

/** The compiled worker. Run from its source, as the tests do, this module finds it in the build. */
function workerFile(): string {
  const source = import.meta.url.endsWith(".ts");
  const url = new URL(source ? "../../dist/src/sys/thread-worker.js" : "./thread-worker.js", import.meta.url);
  const path = fileURLToPath(url);
  if (!existsSync(path)) throw new Failure(`threads: ${path} is missing: run "npm run build"`);
  return path;
}
