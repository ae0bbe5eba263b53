/**
 * Asynchronous file I/O and waiting, as the core sees it. Two real implementations (`uring.ts`, `threads.ts`) and, in tests,
 * a simulated one. One thread: callbacks run inside `wait`, never inside a submitting call.
 *
 * Memory named by an iovec array, and the array itself, belong to the operation until its callback has run.
 */

/**
 * Receives a byte count (0 for calls without one) or a negated error number. EINTR and EAGAIN were retried already, but not
 * after `close`, which has given up the descriptor whatever it says. Descriptors are blocking ones (no O_NONBLOCK).
 */
export type Done = (result: number) => void;

/** Told of a post that failed. */
export type PostFailed = (tag: number, result: number) => void;

export interface Io {
  /** Which implementation this is. */
  readonly kind: "uring" | "threads" | "simulated";
  /** Operations asked for and not yet called back; `whenReadable` does not count. */
  readonly inflight: number;

  /**
   * Data will be read from `fd` or written to it: what must be known of its filesystem for that is asked now, while it has just been
   * opened. Without this it is asked at the first I/O, when its server may hang.
   */
  prepare(fd: number): void;
  /** preadv(2) of `iovCount` entries of the native iovec array at `iovAddress`. May be short. */
  readv(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void;
  /** pwritev(2). May be short. */
  writev(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void;
  /** The same, and what it says is written, but nothing else, is on stable media then: pwritev2(2) with RWF_DSYNC. */
  writeDurably(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void;
  /** fsync(2), or fdatasync(2) if `dataOnly`. */
  fsync(fd: number, dataOnly: boolean, done: Done): void;
  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void;
  truncate(fd: number, length: number, done: Done): void;
  syncfs(fd: number, done: Done): void;
  /** copy_file_range(2) of up to `length` bytes; may be short, 0 at the end of the input. */
  copyRange(fdIn: number, offsetIn: number, fdOut: number, offsetOut: number, length: number, done: Done): void;
  /** close(2) off the loop: the last close of an unlinked file may take long. */
  close(fd: number, done: Done): void;

  /**
   * write(2) that says nothing when it succeeds, begun with the next `begin` or `wait`, and done when the latter goes to sleep: several cost one
   * system call. The memory must stay as it is until `wait` has been called. False if this Io, or its ring just now, cannot:
   * then nothing was done. `tag`, from 0 to 2^31 - 1, is for `whenPostFails`.
   */
  post(fd: number, address: number, length: number, tag: number): boolean;
  /** Has `failed` called, from `wait`, with the tag of each post that fails, and its negated error number. Call it once. */
  whenPostFails(failed: PostFailed): void;

  /** Calls `ready` once, from `wait`, when `fd` is readable (or has failed). */
  whenReadable(fd: number, ready: () => void): void;
  /** Begins what was submitted: it is under way while the caller goes on with what takes its time. */
  begin(): void;
  /**
   * Begins what was submitted, sleeps until something is ready or `timeoutUs` has passed (Infinity: no limit; 0: does not
   * sleep), runs the callbacks. What callbacks submit is begun by the next call. May return early with nothing done.
   */
  wait(timeoutUs: number): void;
  /**
   * Ties the open file `fd` to all I/O of this Io, for ever: call it once. Direct I/O in flight outlives a killed process, a
   * late write as well as a late read into shared memory. A flock(2) on `fd` (opened for this, `fd` kept open) is let go
   * when the last of it is over, so whoever gets that lock next need not fear it.
   */
  hold(fd: number): void;
  /** Frees the ring or ends the threads, and forgets armed `whenReadable`s. Nothing may be in flight. */
  shutdown(): void;
}
