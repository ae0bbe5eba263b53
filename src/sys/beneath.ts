/** A directory that other mounts lie over, opened without taking them away. */
import { fileURLToPath } from "node:url";
import { Worker } from "node:worker_threads";
import { E } from "../base/errno.ts";

/** Longest wait for the thread, milliseconds. */
const ANSWER_MS = 10_000;

/** Words of the answer. */
export const Answer = { isThere: 0, result: 1 } as const;

export interface BeneathTask {
  path: string;
  mounts: number;
  answer: Int32Array;
}

/** Opens the directory at `path` beneath the topmost `mounts` mounts there. The descriptor, or a negated error number. */
export function openBeneath(path: string, mounts: number): number {
  const answer = new Int32Array(new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT));
  const task: BeneathTask = { path, mounts, answer };
  const worker = new Worker(threadFile(), { workerData: task, execArgv: [] });
  worker.unref();
  return Atomics.wait(answer, Answer.isThere, 0, ANSWER_MS) === "timed-out"
    ? -E.EAGAIN
    : Atomics.load(answer, Answer.result);
}

/** The compiled thread. Run from its source, as the tests do, this module finds it in the build. */
function threadFile(): string {
  const source = import.meta.url.endsWith(".ts");
  return fileURLToPath(
    new URL(source ? "../../dist/src/sys/beneath-thread.js" : "./beneath-thread.js", import.meta.url),
  );
}
