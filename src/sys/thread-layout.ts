/**
 * The memory that the main thread shares with its worker threads.
 *
 * ```
 * control  words: jobs asked for (tail), jobs taken (head), jobs finished (end of `finished`), main sleeps, fatal, stop, thread ids
 * queue    a ring of job numbers, filled at tail by the main thread, taken at head by any worker
 * finished a ring of job number + 1 (0: empty), filled by any worker, emptied by the main thread
 * jobs     columns, by job number: kind, fd, extra (32 bits), address, offset, length, result (doubles)
 * ```
 * A job is in one of the two rings at most once, so neither can overflow.
 */

/** Jobs that workers know of at once; a power of two. */
export const JOBS = 256;

/** Words of the control block. The thread ids begin at `threads`; 0 is a thread that has not started yet. */
export const Control = { tail: 0, head: 1, finished: 2, listening: 3, stop: 4, threads: 8 } as const;
const CONTROL_WORDS = 64;
export const THREADS_MAX = CONTROL_WORDS - Control.threads;

export interface Shared {
  control: Int32Array<SharedArrayBuffer>;
  queue: Int32Array<SharedArrayBuffer>;
  finished: Int32Array<SharedArrayBuffer>;
  kind: Int32Array<SharedArrayBuffer>;
  fd: Int32Array<SharedArrayBuffer>;
  extra: Int32Array<SharedArrayBuffer>;
  address: Float64Array<SharedArrayBuffer>;
  offset: Float64Array<SharedArrayBuffer>;
  length: Float64Array<SharedArrayBuffer>;
  result: Float64Array<SharedArrayBuffer>;
}

/** What a worker is started with. */
export interface WorkerTask {
  shared: Shared;
  index: number;
  eventFd: number;
}

export function newShared(): Shared {
  const words = (n: number) => new Int32Array(new SharedArrayBuffer(n * 4));
  const doubles = (n: number) => new Float64Array(new SharedArrayBuffer(n * 8));
  return {
    control: words(CONTROL_WORDS),
    queue: words(JOBS),
    finished: words(JOBS),
    kind: words(JOBS),
    fd: words(JOBS),
    extra: words(JOBS),
    address: doubles(JOBS),
    offset: doubles(JOBS),
    length: doubles(JOBS),
    result: doubles(JOBS),
  };
}
