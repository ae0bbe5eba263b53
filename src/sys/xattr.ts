/**
 * Extended attributes of `name` in directory `dirfd`, never following a symlink. There are no system calls for that before
 * kernel 6.13, so the path goes through the descriptor's entry in /proc. Results as in `libc.ts`.
 */
import koffi from "koffi";

const library = koffi.load("libc.so.6");

type Call = (...args: (number | Buffer | null)[]) => number;

function declare(prototype: string): Call {
  const call = library.func(prototype) as Call;
  return (...args) => {
    const result = call(...args);
    return result < 0 ? -koffi.errno() : result;
  };
}

const lgetxattr = declare("int64_t lgetxattr(const void *path, const void *name, void *value, size_t n)");
const lsetxattr = declare("int lsetxattr(const void *path, const void *name, const void *value, size_t n, int flags)");
const llistxattr = declare("int64_t llistxattr(const void *path, void *list, size_t n)");
const lremovexattr = declare("int lremovexattr(const void *path, const void *name)");

/** `name` as C takes it, NUL at its end. */
const pathTo = (dirfd: number, name: Buffer): Buffer => Buffer.concat([Buffer.from(`/proc/self/fd/${dirfd}/`), name]);

/** The value's length; it is in `value` unless that is null. */
export const getXattr = (dirfd: number, name: Buffer, key: Buffer, value: Buffer | null): number =>
  lgetxattr(pathTo(dirfd, name), key, value, value === null ? 0 : value.length);

export const setXattr = (dirfd: number, name: Buffer, key: Buffer, value: Buffer, flags: number): number =>
  lsetxattr(pathTo(dirfd, name), key, value, value.length, flags);

export const listXattr = (dirfd: number, name: Buffer, list: Buffer | null): number =>
  llistxattr(pathTo(dirfd, name), list, list === null ? 0 : list.length);

export const removeXattr = (dirfd: number, name: Buffer, key: Buffer): number => lremovexattr(pathTo(dirfd, name), key);
