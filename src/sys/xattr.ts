/**
 * Extended attributes of `name` in directory `dirfd`, never following a symlink; an empty name is what `dirfd` itself is. There are no
 * system calls for that before kernel 6.13, so the path goes through the descriptor's entry in /proc. Results as in `libc.ts`.
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

type CallAt = (dirfd: number, name: Buffer, ...args: (number | Buffer | null)[]) => number;

/** The entry in /proc is a link: with a name after it `named` is called; without one, `following`, which ends at what the link leads to. */
const at =
  (named: Call, following: Call): CallAt =>
  (dirfd, name, ...args) => {
    const entry = `/proc/self/fd/${dirfd}`;
    if (name[0] === 0) return following(Buffer.concat([Buffer.from(entry), name]), ...args);
    return named(Buffer.concat([Buffer.from(`${entry}/`), name]), ...args);
  };

const getAt = at(
  declare("int64_t lgetxattr(const void *path, const void *name, void *value, size_t n)"),
  declare("int64_t getxattr(const void *path, const void *name, void *value, size_t n)"),
);
const setAt = at(
  declare("int lsetxattr(const void *path, const void *name, const void *value, size_t n, int flags)"),
  declare("int setxattr(const void *path, const void *name, const void *value, size_t n, int flags)"),
);
const listAt = at(
  declare("int64_t llistxattr(const void *path, void *list, size_t n)"),
  declare("int64_t listxattr(const void *path, void *list, size_t n)"),
);
const removeAt = at(
  declare("int lremovexattr(const void *path, const void *name)"),
  declare("int removexattr(const void *path, const void *name)"),
);

/** The value's length; it is in `value` unless that is null. */
export const getXattr = (dirfd: number, name: Buffer, key: Buffer, value: Buffer | null): number =>
  getAt(dirfd, name, key, value, value === null ? 0 : value.length);

export const setXattr = (dirfd: number, name: Buffer, key: Buffer, value: Buffer, flags: number): number =>
  setAt(dirfd, name, key, value, value.length, flags);

export const listXattr = (dirfd: number, name: Buffer, list: Buffer | null): number =>
  listAt(dirfd, name, list, list === null ? 0 : list.length);

export const removeXattr = (dirfd: number, name: Buffer, key: Buffer): number => removeAt(dirfd, name, key);
