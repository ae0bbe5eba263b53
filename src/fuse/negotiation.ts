/**
 * INIT: what kernel and engine agree on, once a mount. It lies in the slab (the first bytes of its memory region), because an
 * engine that replaces a killed one gets no INIT.
 */
import { E } from "../base/errno.ts";
import {
  BACKGROUND_REQUESTS_CONGESTED,
  BACKGROUND_REQUESTS_MAX,
  REQUEST_BYTES_MAX,
  REQUEST_PAGES_MAX,
} from "../base/limits.ts";
import {
  InitFlag,
  InitFlag2,
  InitIn,
  OpenReply,
  PROTOCOL_MAJOR,
  PROTOCOL_MINOR_MAX,
  PROTOCOL_MINOR_MIN,
} from "./constants.ts";
import type { ReplyBody, Request } from "./request.ts";

/**
 * Not asked for, and why: WRITEBACK_CACHE (what is answered would sit in the kernel, lost with us), ATOMIC_O_TRUNC (truncation
 * comes as SETATTR), POSIX_LOCKS and FLOCK_LOCKS (locks stay in the kernel), AUTO_INVAL_DATA (nothing is cached there),
 * DONT_MASK, POSIX_ACL.
 */
const WANTED =
  InitFlag.ASYNC_READ |
  InitFlag.BIG_WRITES |
  InitFlag.DO_READDIRPLUS |
  InitFlag.READDIRPLUS_AUTO |
  InitFlag.ASYNC_DIO |
  InitFlag.PARALLEL_DIROPS |
  InitFlag.MAX_PAGES |
  InitFlag.CACHE_SYMLINKS |
  InitFlag.HANDLE_KILLPRIV_V2 |
  InitFlag.INIT_EXT;
const WANTED_2 = InitFlag2.DIRECT_IO_ALLOW_MMAP | InitFlag2.HAS_RESEND;

const AGREED = 0;
const MINOR = 1;
const FLAGS = 2;
const FLAGS_2 = 3;

export class Negotiation {
  private readonly words: Uint32Array;

  constructor(memory: ArrayBuffer) {
    this.words = new Uint32Array(memory, 0, 16);
  }

  /** True once INIT was answered. */
  get isDone(): boolean {
    return this.words[AGREED] === 1;
  }

  get minor(): number {
    return this.words[MINOR]!;
  }

  /** The kernel sends a dead engine's requests again. */
  get canResend(): boolean {
    return (this.words[FLAGS_2]! & InitFlag2.HAS_RESEND) !== 0;
  }

  /**
   * How regular files open. With DIRECT_IO every read and write of every user comes to us, so O_DIRECT, buffered and mapped
   * users see one truth; kernels before 6.6 could not map such files, and there the page cache is used, never kept.
   */
  get openFlags(): number {
    const direct = (this.words[FLAGS_2]! & InitFlag2.DIRECT_IO_ALLOW_MMAP) !== 0 ? OpenReply.DIRECT_IO : 0;
    return direct | OpenReply.PARALLEL_DIRECT_WRITES | OpenReply.NOFLUSH;
  }

  /** A new mount begins: nothing is agreed. */
  clear(): void {
    this.words[AGREED] = 0;
  }

  /** Answers INIT. */
  answer(request: Request, body: ReplyBody): number {
    const major = request.u32(InitIn.major);
    const minor = request.u32(InitIn.minor);
    if (major < PROTOCOL_MAJOR || (major === PROTOCOL_MAJOR && minor < PROTOCOL_MINOR_MIN)) return -E.EPROTO;
    const offered = request.u32(InitIn.flags);
    const offered2 = (offered & InitFlag.INIT_EXT) !== 0 ? request.u32(InitIn.flags2) : 0;
    const agreed = Math.min(minor, PROTOCOL_MINOR_MAX);
    this.words[MINOR] = agreed;
    this.words[FLAGS] = offered & WANTED;
    this.words[FLAGS_2] = offered2 & WANTED_2;
    body.u32(PROTOCOL_MAJOR);
    // A newer major: the kernel asks again with ours once it has seen it.
    body.u32(major > PROTOCOL_MAJOR ? PROTOCOL_MINOR_MAX : agreed);
    body.u32(request.u32(InitIn.maxReadahead));
    body.u32(this.words[FLAGS]);
    body.u16(BACKGROUND_REQUESTS_MAX);
    body.u16(BACKGROUND_REQUESTS_CONGESTED);
    body.u32(REQUEST_BYTES_MAX);
    body.u32(1); // time granularity, nanoseconds
    body.u16(REQUEST_PAGES_MAX);
    body.u16(0);
    body.u32(this.words[FLAGS_2]);
    body.zeros(28);
    if (major === PROTOCOL_MAJOR) this.words[AGREED] = 1;
    return 0;
  }
}
