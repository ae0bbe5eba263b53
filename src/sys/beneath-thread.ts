/**
 * The thread of `beneath.ts`: goes into a mount namespace of its own, takes the mounts on top away there, and opens what lies
 * beneath. The namespace ends with the thread; the descriptor is the whole process's, and stays.
 */
import { workerData } from "node:worker_threads";
import { Answer, type BeneathTask } from "./beneath.ts";
import { O } from "./constants.ts";
import * as libc from "./libc.ts";

const AT_FDCWD = -100;
const CLONE_NEWNS = 0x20000;
const MS_REC_PRIVATE = 0x4000 | 0x40000;
const MNT_DETACH = 2;

const { path, mounts, answer } = workerData as BeneathTask;
const name = Buffer.from(`${path}\0`);

function opened(): number {
  const inOwn = libc.unshare(CLONE_NEWNS);
  if (inOwn < 0) return inOwn;
  const apart = libc.mount(null, Buffer.from("/\0"), null, MS_REC_PRIVATE, null);
  if (apart < 0) return apart; // else the unmounts would reach the namespace that we come from
  for (let left = mounts; left > 0; left--) {
    const result = libc.umount2(name, MNT_DETACH);
    if (result < 0) return result;
  }
  return libc.openat(AT_FDCWD, name, O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0);
}

Atomics.store(answer, Answer.result, opened());
Atomics.store(answer, Answer.isThere, 1);
Atomics.notify(answer, Answer.isThere);
