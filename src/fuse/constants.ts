/**
 * Numbers of the FUSE kernel protocol 7.31 to 7.45 (include/uapi/linux/fuse.h), by their kernel names without the prefix
 * that each table bears. Offsets count from the start of an operation's own structure, which follows the 40-byte header.
 */

export const PROTOCOL_MAJOR = 7;
export const PROTOCOL_MINOR_MIN = 31;
export const PROTOCOL_MINOR_MAX = 45;

/** FUSE_*: what a request asks for. */
export const Opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  SETATTR: 4,
  READLINK: 5,
  SYMLINK: 6,
  MKNOD: 8,
  MKDIR: 9,
  UNLINK: 10,
  RMDIR: 11,
  RENAME: 12,
  LINK: 13,
  OPEN: 14,
  READ: 15,
  WRITE: 16,
  STATFS: 17,
  RELEASE: 18,
  FSYNC: 20,
  SETXATTR: 21,
  GETXATTR: 22,
  LISTXATTR: 23,
  REMOVEXATTR: 24,
  FLUSH: 25,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  FSYNCDIR: 30,
  GETLK: 31,
  SETLK: 32,
  SETLKW: 33,
  ACCESS: 34,
  CREATE: 35,
  INTERRUPT: 36,
  BMAP: 37,
  DESTROY: 38,
  IOCTL: 39,
  POLL: 40,
  NOTIFY_REPLY: 41,
  BATCH_FORGET: 42,
  FALLOCATE: 43,
  READDIRPLUS: 44,
  RENAME2: 45,
  LSEEK: 46,
  COPY_FILE_RANGE: 47,
  SETUPMAPPING: 48,
  REMOVEMAPPING: 49,
  SYNCFS: 50,
  TMPFILE: 51,
  STATX: 52,
  COPY_FILE_RANGE_64: 53,
} as const;

/** FUSE_* bits 0 to 31 of INIT: `flags`. */
export const InitFlag = {
  ASYNC_READ: 1 << 0,
  POSIX_LOCKS: 1 << 1,
  FILE_OPS: 1 << 2,
  ATOMIC_O_TRUNC: 1 << 3,
  EXPORT_SUPPORT: 1 << 4,
  BIG_WRITES: 1 << 5,
  DONT_MASK: 1 << 6,
  SPLICE_WRITE: 1 << 7,
  SPLICE_MOVE: 1 << 8,
  SPLICE_READ: 1 << 9,
  FLOCK_LOCKS: 1 << 10,
  HAS_IOCTL_DIR: 1 << 11,
  AUTO_INVAL_DATA: 1 << 12,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  WRITEBACK_CACHE: 1 << 16,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  HANDLE_KILLPRIV: 1 << 19,
  POSIX_ACL: 1 << 20,
  ABORT_ERROR: 1 << 21,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  EXPLICIT_INVAL_DATA: 1 << 25,
  MAP_ALIGNMENT: 1 << 26,
  SUBMOUNTS: 1 << 27,
  HANDLE_KILLPRIV_V2: 1 << 28,
  SETXATTR_EXT: 1 << 29,
  /** `flags2` is there, in both directions. */
  INIT_EXT: 1 << 30,
} as const;

/** FUSE_* bits 32 to 63 of INIT, shifted down: `flags2`. */
export const InitFlag2 = {
  SECURITY_CTX: 1 << 0,
  HAS_INODE_DAX: 1 << 1,
  CREATE_SUPP_GROUP: 1 << 2,
  HAS_EXPIRE_ONLY: 1 << 3,
  /** Shared mmap through FOPEN_DIRECT_IO handles. Kernel 6.6. */
  DIRECT_IO_ALLOW_MMAP: 1 << 4,
  PASSTHROUGH: 1 << 5,
  NO_EXPORT_SUPPORT: 1 << 6,
  /** FUSE_NOTIFY_RESEND works. Kernel 6.9. */
  HAS_RESEND: 1 << 7,
  ALLOW_IDMAP: 1 << 8,
  OVER_IO_URING: 1 << 9,
  REQUEST_TIMEOUT: 1 << 10,
} as const;

/** fuse_init_in: kernels before INIT_EXT send the first 16 bytes only. */
export const InitIn = { major: 0, minor: 4, maxReadahead: 8, flags: 12, flags2: 16, bytesOld: 16, bytes: 64 } as const;
/** FOPEN_*: flags of a reply to OPEN, CREATE, OPENDIR. */
export const OpenReply = {
  DIRECT_IO: 1 << 0,
  KEEP_CACHE: 1 << 1,
  NONSEEKABLE: 1 << 2,
  CACHE_DIR: 1 << 3,
  STREAM: 1 << 4,
  NOFLUSH: 1 << 5,
  PARALLEL_DIRECT_WRITES: 1 << 6,
  PASSTHROUGH: 1 << 7,
} as const;

/** FATTR_*: which fields of SETATTR hold. */
export const SetattrValid = {
  MODE: 1 << 0,
  UID: 1 << 1,
  GID: 1 << 2,
  SIZE: 1 << 3,
  ATIME: 1 << 4,
  MTIME: 1 << 5,
  FH: 1 << 6,
  ATIME_NOW: 1 << 7,
  MTIME_NOW: 1 << 8,
  LOCKOWNER: 1 << 9,
  CTIME: 1 << 10,
  KILL_SUIDGID: 1 << 11,
} as const;

/** FUSE_OPEN_KILL_SUIDGID in OPEN and CREATE. */
export const OPEN_KILL_SUIDGID = 1 << 0;
/** FUSE_WRITE_* in WRITE's `writeFlags`. */
export const WriteFlag = { CACHE: 1 << 0, LOCKOWNER: 1 << 1, KILL_SUIDGID: 1 << 2 } as const;
/** FUSE_FSYNC_FDATASYNC in FSYNC and FSYNCDIR. */
export const FSYNC_DATA_ONLY = 1 << 0;

/** FUSE_NOTIFY_*: sent with `unique` 0 and this code where a reply has its error. */
export const Notify = {
  POLL: 1,
  INVAL_INODE: 2,
  INVAL_ENTRY: 3,
  STORE: 4,
  RETRIEVE: 5,
  DELETE: 6,
  RESEND: 7,
  INC_EPOCH: 8,
  PRUNE: 9,
} as const;

/** RENAME_* of RENAME2. */
export const RenameFlag = { NOREPLACE: 1, EXCHANGE: 2, WHITEOUT: 4 } as const;

/** Sizes in bytes of structures that replies hold. */
const ATTR_BYTES = 88;
export const ENTRY_OUT_BYTES = 40 + ATTR_BYTES;
/** A directory entry before its name; the whole is rounded up to 8. */
export const DIRENT_BYTES = 24;
export const DIRENTPLUS_BYTES = ENTRY_OUT_BYTES + DIRENT_BYTES;

/** Field offsets of requests. `name` or `names` is where the NUL-terminated strings begin. */
export const In = {
  FORGET: { nlookup: 0 },
  BATCH_FORGET: { count: 0, entries: 8, entryBytes: 16 },
  GETATTR: { flags: 0, fh: 8 },
  STATX: { flags: 0, fh: 8, statxFlags: 16, mask: 20 },
  SETATTR: {
    valid: 0,
    fh: 8,
    size: 16,
    lockOwner: 24,
    atime: 32,
    mtime: 40,
    ctime: 48,
    atimeNs: 56,
    mtimeNs: 60,
    ctimeNs: 64,
    mode: 68,
    uid: 76,
    gid: 80,
  },
  MKNOD: { mode: 0, rdev: 4, umask: 8, name: 16 },
  MKDIR: { mode: 0, umask: 4, name: 8 },
  RENAME: { newdir: 0, names: 8 },
  RENAME2: { newdir: 0, flags: 8, names: 16 },
  LINK: { oldNode: 0, name: 8 },
  OPEN: { flags: 0, openFlags: 4 },
  CREATE: { flags: 0, mode: 4, umask: 8, openFlags: 12, name: 16 },
  READ: { fh: 0, offset: 8, size: 16, readFlags: 20, lockOwner: 24, flags: 32, bytes: 40 },
  WRITE: { fh: 0, offset: 8, size: 16, writeFlags: 20, lockOwner: 24, flags: 32, bytes: 40 },
  RELEASE: { fh: 0, flags: 8, releaseFlags: 12, lockOwner: 16 },
  FLUSH: { fh: 0, lockOwner: 16 },
  FSYNC: { fh: 0, flags: 8 },
  SETXATTR: { size: 0, flags: 4, name: 8 },
  GETXATTR: { size: 0, name: 8 },
  LISTXATTR: { size: 0 },
  ACCESS: { mask: 0 },
  FALLOCATE: { fh: 0, offset: 8, length: 16, mode: 24 },
  LSEEK: { fh: 0, offset: 8, whence: 16 },
  COPY_FILE_RANGE: { fhIn: 0, offsetIn: 8, nodeOut: 16, fhOut: 24, offsetOut: 32, length: 40, flags: 48 },
  INTERRUPT: { unique: 0 },
} as const;
