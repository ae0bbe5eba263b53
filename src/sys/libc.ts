/**
 * System calls through koffi. Every function returns what the call returns, or the negated error number; none throws.
 * Paths and names are byte strings in NUL-terminated buffers (`cstring`), because Linux names need not be UTF-8.
 */
import koffi from "koffi";

const library = koffi.load("libc.so.6");

type Call = (...args: (number | bigint | Buffer | Uint8Array | null)[]) => number;

/** Declares one C function and turns its -1 into -errno. */
function declare(prototype: string): Call {
  const call = library.func(prototype) as Call;
  return (...args) => {
    const result = call(...args);
    return result < 0 ? -koffi.errno() : result;
  };
}

/** Names are kept as latin1 strings, one character a byte; this is the NUL-terminated form that calls take. */
export const cstring = (bytes: string): Buffer => Buffer.from(`${bytes}\0`, "latin1");

const read3 = library.func("int64_t read(int fd, uintptr_t buf, size_t n)");
const write3 = library.func("int64_t write(int fd, uintptr_t buf, size_t n)");
const readv3 = library.func("int64_t readv(int fd, uintptr_t iov, int n)");
const writev3 = library.func("int64_t writev(int fd, uintptr_t iov, int n)");

/** read(2) into memory at `address`. */
export const read = (fd: number, address: number, length: number): number => {
  const n = read3(fd, address, length) as number;
  return n < 0 ? -koffi.errno() : n;
};
/** write(2) from memory at `address`. */
export const write = (fd: number, address: number, length: number): number => {
  const n = write3(fd, address, length) as number;
  return n < 0 ? -koffi.errno() : n;
};
/** readv(2) over a native iovec array. */
export const readv = (fd: number, iov: number, count: number): number => {
  const n = readv3(fd, iov, count) as number;
  return n < 0 ? -koffi.errno() : n;
};
/** writev(2) over a native iovec array. */
export const writev = (fd: number, iov: number, count: number): number => {
  const n = writev3(fd, iov, count) as number;
  return n < 0 ? -koffi.errno() : n;
};

export const preadv = declare("int64_t preadv(int fd, uintptr_t iov, int n, int64_t offset)");
export const pwritev = declare("int64_t pwritev(int fd, uintptr_t iov, int n, int64_t offset)");
export const pwritev2 = declare("int64_t pwritev2(int fd, uintptr_t iov, int n, int64_t offset, int flags)");
export const openat = declare("int openat(int dirfd, const void *path, int flags, uint32_t mode)");
export const close = declare("int close(int fd)");
export const dup3 = declare("int dup3(int from, int to, int flags)");
export const fsync = declare("int fsync(int fd)");
export const fdatasync = declare("int fdatasync(int fd)");
export const syncfs = declare("int syncfs(int fd)");
export const fallocate = declare("int fallocate(int fd, int mode, int64_t offset, int64_t length)");
export const ftruncate = declare("int ftruncate(int fd, int64_t length)");
export const lseek = declare("int64_t lseek(int fd, int64_t offset, int whence)");
export const copyFileRange = declare(
  "int64_t copy_file_range(int in, void *offin, int out, void *offout, size_t n, uint32_t flags)",
);
/** statx(2); `buffer` is 256 bytes (see `stat.ts`). */
export const statx = declare("int statx(int dirfd, const void *path, int flags, uint32_t mask, void *buffer)");
/** fstatfs(2); `buffer` is 120 bytes. */
export const fstatfs = declare("int fstatfs(int fd, void *buffer)");
export const mkdirat = declare("int mkdirat(int dirfd, const void *path, uint32_t mode)");
export const mknodat = declare("int mknodat(int dirfd, const void *path, uint32_t mode, uint64_t dev)");
export const unlinkat = declare("int unlinkat(int dirfd, const void *path, int flags)");
export const renameat2 = declare("int renameat2(int from, const void *a, int to, const void *b, uint32_t flags)");
export const linkat = declare("int linkat(int from, const void *a, int to, const void *b, int flags)");
export const symlinkat = declare("int symlinkat(const void *target, int dirfd, const void *path)");
export const readlinkat = declare("int64_t readlinkat(int dirfd, const void *path, void *buf, size_t n)");
export const fchmodat = declare("int fchmodat(int dirfd, const void *path, uint32_t mode, int flags)");
export const fchownat = declare("int fchownat(int dirfd, const void *path, uint32_t uid, uint32_t gid, int flags)");
/** utimensat(2); `times` is two timespecs, 32 bytes. glibc refuses a null path: an open file's times are set by `futimens`. */
export const utimensat = declare("int utimensat(int dirfd, const void *path, const void *times, int flags)");
export const futimens = declare("int futimens(int fd, const void *times)");
export const umask = declare("uint32_t umask(uint32_t mask)");
export const flock = declare("int flock(int fd, int operation)");
export const fcntl = declare("int fcntl(int fd, int command, int64_t argument)");
export const eventfd = declare("int eventfd(uint32_t initial, int flags)");
export const mount = declare(
  "int mount(const void *source, const void *target, const void *type, uint64_t flags, const void *data)",
);
export const umount2 = declare("int umount2(const void *target, int flags)");
export const unshare = declare("int unshare(int flags)");
export const madvise = declare("int madvise(uintptr_t address, size_t length, int advice)");
export const munmap = declare("int munmap(uintptr_t address, size_t length)");
export const prctl = declare("int prctl(int option, uint64_t a, uint64_t b, uint64_t c, uint64_t d)");
/** syscall(2) with integer arguments, for calls that glibc 2.36 does not wrap. */
export const syscall = declare(
  "int64_t syscall(int64_t number, int64_t a, int64_t b, int64_t c, int64_t d, int64_t e, int64_t f)",
);
/** syscall(2) whose second argument is memory. */
export const syscallWithBuffer = declare("int64_t syscall(int64_t number, int64_t a, void *b, int64_t c)");

const mmap6 = library.func("int64_t mmap(uintptr_t addr, size_t len, int prot, int flags, int fd, int64_t offset)");

/** mmap(2); the address as a number, or the negated error number. */
export const mmap = (length: number, protection: number, flags: number, fd: number, offset: number): number => {
  const address = mmap6(0, length, protection, flags, fd, offset) as number;
  return address === -1 ? -koffi.errno() : address;
};

/** An ArrayBuffer over foreign memory. Node 20 aborts above 4 GiB: callers stay at or below 1 GiB a view. */
export const viewMemory = (address: number, length: number): ArrayBuffer => koffi.view(BigInt(address), length);

/** The address of a Buffer's first byte; valid while the Buffer lives. */
export const addressOfBuffer = (buffer: Buffer): number => Number(koffi.address(buffer));
