/**
 * Direct I/O outlives its process: a killed engine's home writes may land, and its reads may fill shared memory, after a new
 * engine has begun. A lock on the slab file, tied to all of an engine's I/O, is free only when the last of it is over.
 */
import { openSync } from "node:fs";
import { E, errnoName } from "../base/errno.ts";
import { Failure } from "../base/errors.ts";
import type { Log } from "../base/log.ts";
import type { Io } from "../sys/io.ts";
import * as libc from "../sys/libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;

/** Waits until no I/O of an earlier engine on the slab in `slabFd` is under way, and ties this engine's to the lock. */
export function awaitPredecessor(slabFd: number, io: Io, log: Log): void {
  const fd = openSync(`/proc/self/fd/${slabFd}`, "r+");
  let result = libc.flock(fd, LOCK_EX | LOCK_NB);
  if (result === -E.EWOULDBLOCK) {
    log.info("waiting for the last I/O of the engine before");
    do result = libc.flock(fd, LOCK_EX);
    while (result === -E.EINTR);
  }
  if (result < 0) throw new Failure(`slab: cannot be locked: ${errnoName(result)}`);
  io.hold(fd);
}
