/** Which `Io` this host gets: the ring if it really works, threads otherwise. */
import { readFileSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
import type { Io } from "./io.ts";
import { ThreadsIo } from "./threads.ts";
import { UringIo } from "./uring.ts";

export type IoChoice = "auto" | "uring" | "threads";

/** How long a trial operation may take, microseconds. */
const TRIAL_US = 5_000_000;
const DISABLED_FILE = "/proc/sys/kernel/io_uring_disabled";

/** The `Io` that was asked for, and the sentence that the log tells of it. Throws Failure if `uring` is impossible. */
export function chooseIo(wanted: IoChoice): { io: Io; reason: string } {
  if (wanted === "threads") return { io: new ThreadsIo(), reason: "worker threads do the I/O, as --io threads says" };
  try {
    const io = triedUring();
    return {
      io,
      reason: wanted === "uring" ? "io_uring does the I/O, as --io uring says" : "io_uring works and does the I/O",
    };
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    const why = error.message + disabledHint();
    if (wanted === "uring") {
      throw new Failure(`${why}: use --io threads, or allow io_uring on this host`, ExitCode.forbidden, error);
    }
    return { io: new ThreadsIo(), reason: `worker threads do the I/O, because of ${why}` };
  }
}

/** A ring that has completed an operation. */
function triedUring(): UringIo {
  const io = new UringIo();
  let result: number | undefined;
  io.nop((value) => {
    result = value;
  });
  io.wait(TRIAL_US);
  if (result === 0) return io;
  throw new Failure(`io_uring: a trial operation gave ${result ?? "no answer"}`);
}

/** What the administrator has forbidden, if that is it. */
function disabledHint(): string {
  try {
    const value = readFileSync(DISABLED_FILE, "utf8").trim();
    return value === "0" ? "" : ` (kernel.io_uring_disabled = ${value})`;
  } catch {
    return ""; // kernels before 6.6 have no such setting
  }
}
