/**
 * Numbers and layouts of io_uring, as in the kernel's `include/uapi/linux/io_uring.h`.
 *
 * ```
 * io_uring_params (120 bytes)             sqe (64 bytes, 16 words)        cqe (16 bytes, 4 words)
 *   0 sq_entries    4 cq_entries            0 opcode, flags (byte 1)        0 user_data (2 words)
 *   8 flags        20 features              1 fd                            2 result
 *  40 sq_off: head tail mask entries        2 offset (2 words)              3 flags
 *             flags dropped array           4 address (2 words)
 *  80 cq_off: head tail mask entries        6 length                      io_uring_getevents_arg (24 bytes)
 *             overflow cqes                 7 flags of the operation         0 sigmask   8 its size
 *                                           8 user_data (2 words)           16 address of a timespec
 * ```
 */

/** System calls; the numbers are the same on every architecture. */
export const SYS_io_uring_setup = 425;
export const SYS_io_uring_enter = 426;
export const SYS_io_uring_register = 427;

export const SETUP = {
  CQSIZE: 1 << 3,
  CLAMP: 1 << 4,
  SUBMIT_ALL: 1 << 7,
  COOP_TASKRUN: 1 << 8,
  TASKRUN_FLAG: 1 << 9,
  SINGLE_ISSUER: 1 << 12,
  DEFER_TASKRUN: 1 << 13,
} as const;

export const FEAT = { SINGLE_MMAP: 1 << 0, NODROP: 1 << 1, EXT_ARG: 1 << 8, CQE_SKIP: 1 << 11 } as const;
export const ENTER = { GETEVENTS: 1 << 0, EXT_ARG: 1 << 3 } as const;
/** Bits of the submission ring's flags word: why the kernel wants to be entered. */
export const SQ = { CQ_OVERFLOW: 1 << 1, TASKRUN: 1 << 2 } as const;
export const OFF_SQES = 0x10000000;
/** Runs the operation in a kernel thread, whatever it is. */
export const IOSQE_ASYNC = 1 << 4;
/** An operation that succeeds leaves no completion. */
export const IOSQE_CQE_SKIP_SUCCESS = 1 << 6;
export const FSYNC_DATASYNC = 1;

export const REGISTER = { FILES: 2, PROBE: 8, IOWQ_MAX_WORKERS: 19 } as const;
/** io_uring_probe: a header of 16 bytes, then 8 bytes an opcode: its number, a byte, 16 bits of flags. */
export const PROBE = { headerBytes: 16, entryBytes: 8, entries: 64, flagsOffset: 2, SUPPORTED: 1 } as const;

export const OP = {
  NOP: 0,
  READV: 1,
  WRITEV: 2,
  FSYNC: 3,
  POLL_ADD: 6,
  FALLOCATE: 17,
  CLOSE: 19,
  WRITE: 23,
  FTRUNCATE: 55,
} as const;

export const SQE_WORDS = 16;
export const CQE_WORDS = 4;

export const PARAMS = {
  bytes: 120,
  sqEntries: 0,
  cqEntries: 4,
  flags: 8,
  features: 20,
  sqHead: 40,
  sqTail: 44,
  sqFlags: 56,
  sqArray: 64,
  cqHead: 80,
  cqTail: 84,
  cqesOffset: 100,
} as const;
