/** Takes root's power over files away for a moment, within the process. */
import * as libc from "../../src/sys/libc.ts";

const SETFSUID = process.arch === "arm64" ? 151 : 122;

/** Runs `act` with this thread's file access that of `uid`. `act` must make its system calls itself, and at once. */
export function ordinaryUser<T>(uid: number, act: () => T): T {
  libc.syscall(SETFSUID, uid, 0, 0, 0, 0, 0);
  try {
    return act();
  } finally {
    libc.syscall(SETFSUID, 0, 0, 0, 0, 0, 0);
  }
}
