/**
 * A program that begins direct writes and waits to be killed: `killed-writer.js uring|threads DEVICE LOCK`. It writes WRITES
 * blocks of 1 MiB of 0x55 to the start of DEVICE, holding a lock on LOCK, and prints a line when the first is done and the others are not.
 */
import { openSync, writeSync } from "node:fs";
import { O } from "../../src/sys/constants.ts";
import * as libc from "../../src/sys/libc.ts";
import { ThreadsIo } from "../../src/sys/threads.ts";
import { UringIo } from "../../src/sys/uring.ts";
import { bytes, iovec } from "./implementations.ts";

const LOCK_EX = 2;
const WRITES = 4;
const MiB = 2 ** 20;

const [kind, device, lockFile] = process.argv.slice(2) as [string, string, string];
const io = kind === "uring" ? new UringIo() : new ThreadsIo();
const lock = openSync(lockFile, "w");
if (libc.flock(lock, LOCK_EX) < 0) throw new Error("the lock is taken");
io.hold(lock);
bytes.fill(0x55);
const fd = openSync(device, O.RDWR | O.DIRECT);
for (let i = 0; i < WRITES; i += 1) io.writev(fd, iovec(i, 0, MiB), 1, i * MiB, () => writeSync(1, "done\n"));
for (;;) io.wait(Infinity);
