/** umount2(2) on a thread of its own, for a process that must not wait with the call: the last unmount writes out mapped pages. */
import koffi from "koffi";

const umount2 = koffi.load("libc.so.6").func("int umount2(const char *target, int flags)");

/** Resolves when the call has returned, whatever it returned: an error number would be another thread's. */
export const umountAside = (target: string, flags: number): Promise<void> =>
  new Promise((resolve) => umount2.async(target, flags, () => resolve()));
