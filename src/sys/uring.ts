/** `Io` through io_uring. What the kernel's ring lacks (syncfs, copy_file_range) is done by a helping thread. */
import { assert } from "../base/assert.ts";
import { E } from "../base/errno.ts";
import { POLLIN, RWF_DSYNC } from "./constants.ts";
import type { Done, Io, PostFailed } from "./io.ts";
import { Kind, Operations } from "./operations.ts";
import { FUSE_MAGIC, magicOf } from "./stat.ts";
import { ThreadPool } from "./thread-pool.ts";
import { FSYNC_DATASYNC, IOSQE_ASYNC, OP } from "./uring-layout.ts";
import { Ring } from "./uring-ring.ts";

/** Entries handed over at once, and operations with the kernel at once; more wait here. */
const SUBMISSIONS = 256;
const COMPLETIONS = 4096;
/** Kernel threads that may sleep in the I/O of files: several devices may hang with all their writes (HOME_WRITES_MAX) and flushes. */
const WORKERS = 128;
const ASYNC = IOSQE_ASYNC << 8;
/** User data of a posted write with tag 0; below it those of other tags. No slots. */
const POSTED = -1;
/** Operations known at first; the table grows. */
const SLOTS = 1024;

/** What is known of a descriptor that data is read from or written to. */
const Place = { unknown: 0, plain: 1, punted: 2 } as const;

export class UringIo implements Io {
  readonly kind = "uring";

  private readonly ring: Ring;
  private readonly operations = new Operations(SLOTS);
  /** `whenReadable`s that are armed: they use slots, but are not in flight. */
  private armed = 0;
  private helper: ThreadPool | undefined;
  private postFailed: PostFailed | undefined;
  private readonly hasTruncate: boolean;
  /** A `Place` for each descriptor, until its `close`. */
  private places = new Uint8Array(SLOTS);

  /** Throws Failure when the kernel refuses a ring. The sizes are powers of two. */
  constructor(submissions = SUBMISSIONS, completions = COMPLETIONS) {
    this.ring = new Ring(submissions, completions);
    this.ring.allowWorkers(WORKERS);
    this.hasTruncate = this.ring.supports(OP.FTRUNCATE);
  }

  get inflight(): number {
    return this.operations.used - this.armed + (this.helper?.inflight ?? 0);
  }

  prepare(fd: number): void {
    this.places[fd] = Place.unknown; // by a dup2 it may be another file than before
    this.placeOf(fd);
  }

  readv(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    this.operations.add(Kind.readv, fd, iovCount, iovAddress, offset, 0, done);
  }

  writev(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    this.operations.add(Kind.writev, fd, iovCount, iovAddress, offset, 0, done);
  }

  writeDurably(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    this.operations.add(Kind.writeDurably, fd, iovCount, iovAddress, offset, 0, done);
  }

  fsync(fd: number, dataOnly: boolean, done: Done): void {
    this.operations.add(dataOnly ? Kind.fdatasync : Kind.fsync, fd, 0, 0, 0, 0, done);
  }

  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void {
    this.operations.add(Kind.fallocate, fd, mode, 0, offset, length, done);
  }

  truncate(fd: number, length: number, done: Done): void {
    if (this.hasTruncate) this.operations.add(Kind.truncate, fd, 0, 0, 0, length, done);
    else this.help().add(Kind.truncate, fd, 0, 0, 0, length, done);
  }

  syncfs(fd: number, done: Done): void {
    this.help().add(Kind.syncfs, fd, 0, 0, 0, 0, done);
  }

  copyRange(fdIn: number, offsetIn: number, fdOut: number, offsetOut: number, length: number, done: Done): void {
    this.help().add(Kind.copyRange, fdIn, fdOut, offsetOut, offsetIn, length, done);
  }

  close(fd: number, done: Done): void {
    this.operations.add(Kind.close, fd, 0, 0, 0, 0, done);
  }

  post(fd: number, address: number, length: number, tag: number): boolean {
    const { ring } = this;
    if (!ring.canSkip || ring.room() === 0) return false;
    ring.pushSkipping(OP.WRITE, fd, address, length, POSTED - tag);
    return true;
  }

  whenPostFails(failed: PostFailed): void {
    this.postFailed = failed;
  }

  whenReadable(fd: number, ready: () => void): void {
    this.operations.add(Kind.readable, fd, 0, 0, 0, 0, ready);
    this.armed += 1;
  }

  /** An operation that does nothing: shows that the ring works, and what a round through it costs. */
  nop(done: Done): void {
    this.operations.add(Kind.nop, -1, 0, 0, 0, 0, done);
  }

  hold(fd: number): void {
    this.ring.hold(fd);
  }

  begin(): void {
    this.hand();
    if (this.ring.queued() > 0) this.ring.submit();
  }

  wait(timeoutUs: number): void {
    this.hand();
    const { ring } = this;
    const helping = this.helper !== undefined && this.helper.inflight > 0;
    if (timeoutUs > 0 && ring.ready() === 0) {
      ring.submitAndSleep(helping ? Math.min(timeoutUs, ThreadPool.CHECK_US) : timeoutUs);
    } else if (ring.queued() > 0 || ring.wantsEntering()) {
      ring.submit();
    }
    this.complete();
    if (helping) this.helper?.check();
  }

  shutdown(): void {
    assert(this.inflight === 0, "an Io that is shut down has nothing in flight");
    this.helper?.shutdown();
    this.ring.close();
  }

  /** Moves the backlog into the ring; enters the kernel only when the ring is too small for all of it. */
  private hand(): void {
    const { operations, ring } = this;
    while (operations.waiting > 0) {
      let room = ring.room();
      if (room === 0 && ring.queued() > 0) {
        ring.submit();
        room = ring.room();
      }
      if (room === 0) return; // the completions must be taken first
      for (let n = Math.min(room, operations.waiting); n > 0; n -= 1) this.push(operations.take());
    }
  }

  /** Runs the callbacks of all completions that are visible now, not of those that callbacks cause. */
  private complete(): void {
    const { operations, ring } = this;
    for (let n = ring.ready(); n > 0; n -= 1) {
      ring.take();
      const { userData: slot, result } = ring;
      if (slot <= POSTED) {
        ring.running += 1; // it was not counted, as success leaves no completion
        this.postFailed?.(POSTED - slot, result);
        continue;
      }
      const kind = operations.kind[slot]!;
      if ((result === -E.EINTR || result === -E.EAGAIN) && kind !== Kind.close) {
        operations.retried[slot] = 1;
        operations.queue(slot);
        continue;
      }
      if (kind === Kind.readable) this.armed -= 1;
      operations.finish(slot)(result);
    }
  }

  private push(slot: number): void {
    const { operations, ring } = this;
    const fd = operations.fd[slot]!;
    const extra = operations.extra[slot]!;
    const offset = operations.offset[slot]!;
    const length = operations.length[slot]!;
    const address = operations.address[slot]!;
    switch (operations.kind[slot]!) {
      case Kind.readv:
        return ring.push(OP.READV | this.mode(slot, fd), fd, offset, address, extra, 0, slot);
      case Kind.writev:
        return ring.push(OP.WRITEV | this.mode(slot, fd), fd, offset, address, extra, 0, slot);
      case Kind.writeDurably:
        return ring.push(OP.WRITEV | this.mode(slot, fd), fd, offset, address, extra, RWF_DSYNC, slot);
      case Kind.readable:
        return ring.push(OP.POLL_ADD, fd, 0, 0, 0, POLLIN, slot);
      case Kind.fsync:
        return ring.push(OP.FSYNC, fd, 0, 0, 0, 0, slot);
      case Kind.fdatasync:
        return ring.push(OP.FSYNC, fd, 0, 0, 0, FSYNC_DATASYNC, slot);
      case Kind.fallocate:
        return ring.push(OP.FALLOCATE, fd, offset, length, extra, 0, slot);
      case Kind.truncate:
        return ring.push(OP.FTRUNCATE, fd, length, 0, 0, 0, slot);
      case Kind.close:
        this.places[fd] = Place.unknown;
        // In a kernel thread: the last close of an unlinked file frees its blocks, and would do so in this thread.
        return ring.push(OP.CLOSE | ASYNC, fd, 0, 0, 0, 0, slot);
      default:
        return ring.push(OP.NOP, -1, 0, 0, 0, 0, slot);
    }
  }

  /**
   * The flags byte of an entry: what it says is done by a kernel thread from the start. A retried operation sleeps there instead of
   * returning EAGAIN. I/O of a FUSE file would do its sleeping in this thread otherwise: the kernel tries all that can be polled here first
   * (io_file_supports_nowait, from Linux 6.12), and FUSE, which waits for its server or for the file's lock, has no regard for that.
   */
  private mode(slot: number, fd: number): number {
    return this.operations.retried[slot] === 1 || this.placeOf(fd) === Place.punted ? ASYNC : 0;
  }

  private placeOf(fd: number): number {
    if (fd >= this.places.length) {
      const places = new Uint8Array(2 * fd);
      places.set(this.places);
      this.places = places;
    }
    if (this.places[fd] === Place.unknown) this.places[fd] = magicOf(fd) === FUSE_MAGIC ? Place.punted : Place.plain;
    return this.places[fd]!;
  }

  private help(): ThreadPool {
    if (this.helper === undefined) {
      this.helper = new ThreadPool(1);
      this.listen(this.helper);
    }
    return this.helper;
  }

  /** Runs what the helper has finished, whenever it says so, for ever. */
  private listen(helper: ThreadPool): void {
    this.whenReadable(helper.eventFd, () => {
      helper.listen();
      helper.complete();
      this.listen(helper);
    });
  }
}
