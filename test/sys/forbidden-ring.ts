/**
 * A program to which io_uring is forbidden as containers forbid it, by a seccomp filter: `forbidden-ring.js auto|uring`. Prints
 * the kind of Io that it got, the reason, and the size that a read through it returned; or the failure and its exit code.
 */
import { openSync } from "node:fs";
import { Failure } from "../../src/base/errors.ts";
import { chooseIo, type IoChoice } from "../../src/sys/choose-io.ts";
import * as libc from "../../src/sys/libc.ts";
import { SYS_io_uring_setup } from "../../src/sys/uring-layout.ts";
import { iovec, resultOf } from "./implementations.ts";

const PR_SET_NO_NEW_PRIVS = 38;
const PR_SET_SECCOMP = 22;
const SECCOMP_MODE_FILTER = 2;

/** A classic BPF instruction: code, jump if true, jump if false, operand. */
function instruction(code: number, jt: number, jf: number, k: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeUInt16LE(code, 0);
  bytes.writeUInt8(jt, 2);
  bytes.writeUInt8(jf, 3);
  bytes.writeUInt32LE(k, 4);
  return bytes;
}

/** Makes io_uring_setup(2) fail with EPERM, in this thread and those it starts. */
function forbidRing(): void {
  const filter = Buffer.concat([
    instruction(0x20, 0, 0, 0), // load the number of the system call
    instruction(0x15, 0, 1, SYS_io_uring_setup),
    instruction(0x06, 0, 0, 0x00050001), // return the error EPERM
    instruction(0x06, 0, 0, 0x7fff0000), // allow
  ]);
  const program = Buffer.alloc(16);
  program.writeUInt16LE(filter.length / 8, 0);
  program.writeBigUInt64LE(BigInt(libc.addressOfBuffer(filter)), 8);
  libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
  const result = libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, libc.addressOfBuffer(program), 0, 0);
  if (result < 0) throw new Error(`no seccomp filter here: ${result}`);
}

forbidRing();
try {
  const { io, reason } = chooseIo(process.argv[2] as IoChoice);
  const fd = openSync(process.execPath, "r");
  const read = resultOf(io, (done) => io.readv(fd, iovec(0, 0, 1000), 1, 0, done));
  console.log(JSON.stringify({ kind: io.kind, reason, read }));
  io.shutdown();
} catch (error) {
  if (!(error instanceof Failure)) throw error;
  console.log(JSON.stringify({ failure: error.message, exitCode: error.exitCode }));
}
