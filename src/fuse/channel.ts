/**
 * The way requests come in and replies go out. One implementation today: reads and writes of `/dev/fuse`. FUSE over io_uring
 * would be another; what differs between them ends here.
 */

import { E } from "../base/errno.ts";
import type { Io, PostFailed } from "../sys/io.ts";
import * as libc from "../sys/libc.ts";

export interface Channel {
  /** Shown in `stats`. */
  readonly kind: "dev";
  /** Readable when a request waits. */
  readonly fd: number;
  /**
   * Takes one request, scattered over a native iovec array. Its bytes; or -EAGAIN: none waits; -ENODEV: unmounted;
   * -EINTR, -ENOENT: this one was withdrawn, ask again.
   */
  receive(iov: number, count: number): number;
  /** Sends a reply or a notification. A negated error number when the kernel does not want it (any more). */
  send(address: number, bytes: number): number;
  sendGathered(iov: number, count: number): number;
  /**
   * Sends a reply no later than when the loop goes to sleep; the memory must stay as it is until then. False if too many wait
   * already, or none may: then nothing was done. `tag` is for `whenPostFails`.
   */
  post(address: number, bytes: number, tag: number): boolean;
  /** Sends what was posted now. */
  sendPosted(): void;
  /** Has `failed` called for each posted reply that the kernel does not want (any more). Call it once. */
  whenPostFails(failed: PostFailed): void;
}

/** `/dev/fuse`, opened with O_NONBLOCK and mounted already. */
export class DevChannel implements Channel {
  readonly kind = "dev";
  readonly fd: number;
  private readonly io: Io;

  constructor(fd: number, io: Io) {
    this.fd = fd;
    this.io = io;
  }

  receive(iov: number, count: number): number {
    return libc.readv(this.fd, iov, count);
  }

  send(address: number, bytes: number): number {
    return libc.write(this.fd, address, bytes);
  }

  sendGathered(iov: number, count: number): number {
    return libc.writev(this.fd, iov, count);
  }

  post(address: number, bytes: number, tag: number): boolean {
    return this.io.post(this.fd, address, bytes, tag);
  }

  sendPosted(): void {
    this.io.begin();
  }

  whenPostFails(failed: PostFailed): void {
    this.io.whenPostFails(failed);
  }
}

/** True if the connection is gone for good: unmounted, or aborted by the administrator. */
export const isGone = (result: number): boolean => result === -E.ENODEV || result === -E.ECONNABORTED;
