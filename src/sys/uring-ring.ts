/**
 * The memory shared with the kernel: a submission ring and a completion ring. Knows how to hand entries over and to enter
 * the kernel, not what operations mean.
 *
 * Never more operations are with the kernel than the completion ring has places, so it cannot overflow. (Since 5.5 the
 * kernel keeps what overflows, but only while it finds memory for it.)
 */
import { assert } from "../base/assert.ts";
import { E, errnoName } from "../base/errno.ts";
import { Failure } from "../base/errors.ts";
import { MAP_POPULATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "./constants.ts";
import * as libc from "./libc.ts";
import { Mapping } from "./memory.ts";
import * as layout from "./uring-layout.ts";

const { CQE_WORDS, ENTER, FEAT, PARAMS, PROBE, SETUP, SQ, SQE_WORDS } = layout;

/** Tried in this order, because older kernels refuse the newer flags with EINVAL: from 6.1, from 5.19, from 5.11. */
const FLAG_SETS = [
  SETUP.CQSIZE | SETUP.CLAMP | SETUP.SUBMIT_ALL | SETUP.SINGLE_ISSUER | SETUP.DEFER_TASKRUN | SETUP.TASKRUN_FLAG,
  SETUP.CQSIZE | SETUP.CLAMP | SETUP.SUBMIT_ALL | SETUP.COOP_TASKRUN | SETUP.TASKRUN_FLAG,
  SETUP.CQSIZE | SETUP.CLAMP,
];
const FEATURES = FEAT.SINGLE_MMAP | FEAT.NODROP | FEAT.EXT_ARG;
/** In the page of the wait argument: its size, and where its timespec (seconds, nanoseconds; 64 bits each) lies. */
const ARGUMENT_BYTES = 24;
const TIMESPEC_BYTE = 32;
/** Longest sleep at once, microseconds: a day, so that Infinity needs no case of its own. */
const SLEEP_US_MAX = 86_400e6;

const high = (n: number): number => Math.floor(n / 2 ** 32) | 0;

export class Ring {
  /** Operations that the kernel has taken and whose completion was not yet seen here. */
  running = 0;
  /** The kernel can do operations that leave no completion when they succeed. */
  readonly canSkip: boolean;
  /** Entries queued that leave none. */
  private skipping = 0;

  private readonly fd: number;
  /** Both rings, as words; `sqHead` to `cqes` are word indices into them. */
  private readonly words: Int32Array<ArrayBuffer>;
  private readonly sqHead: number;
  private readonly sqTail: number;
  private readonly sqFlags: number;
  private readonly cqHead: number;
  private readonly cqTail: number;
  private readonly cqes: number;
  private readonly sqEntries: number;
  private readonly cqEntries: number;
  /** The submission entries, SQE_WORDS words each. */
  private readonly sqes: Int32Array<ArrayBuffer>;
  private readonly argument: Mapping;
  private readonly timespec: Int32Array<ArrayBuffer>;
  private readonly rings: { address: number; bytes: number };
  private readonly entries: { address: number; bytes: number };
  /** Our side of the submission ring: the next entry to fill. The kernel sees it at the next entering. */
  private tail = 0;
  /** The kernel's side as it was at the last entering, the only time that it takes entries. */
  private head = 0;

  /** A ring of `sqEntries` submissions and `cqEntries` completions (powers of two). Throws Failure when the kernel refuses. */
  constructor(sqEntries: number, cqEntries: number) {
    const params = Buffer.alloc(PARAMS.bytes);
    this.fd = setUp(sqEntries, cqEntries, params);
    this.canSkip = (params.readUInt32LE(PARAMS.features) & FEAT.CQE_SKIP) !== 0;
    const at = (offset: number) => params.readUInt32LE(offset);
    this.sqEntries = at(PARAMS.sqEntries);
    this.cqEntries = at(PARAMS.cqEntries);
    this.rings = {
      address: 0,
      bytes: Math.max(at(PARAMS.sqArray) + this.sqEntries * 4, at(PARAMS.cqesOffset) + this.cqEntries * CQE_WORDS * 4),
    };
    this.rings.address = this.map(this.rings.bytes, 0);
    this.entries = { address: 0, bytes: this.sqEntries * SQE_WORDS * 4 };
    this.entries.address = this.map(this.entries.bytes, layout.OFF_SQES);
    this.words = new Int32Array(libc.viewMemory(this.rings.address, this.rings.bytes));
    this.sqes = new Int32Array(libc.viewMemory(this.entries.address, this.entries.bytes));
    this.sqHead = at(PARAMS.sqHead) / 4;
    this.sqTail = at(PARAMS.sqTail) / 4;
    this.sqFlags = at(PARAMS.sqFlags) / 4;
    this.cqHead = at(PARAMS.cqHead) / 4;
    this.cqTail = at(PARAMS.cqTail) / 4;
    this.cqes = at(PARAMS.cqesOffset) / 4;
    for (let i = 0; i < this.sqEntries; i += 1) this.words[at(PARAMS.sqArray) / 4 + i] = i;
    this.argument = Mapping.anonymous(4096);
    this.timespec = new Int32Array(this.argument.view(TIMESPEC_BYTE, 16));
    const pointer = new Int32Array(this.argument.view(16, 8));
    pointer[0] = (this.argument.address + TIMESPEC_BYTE) | 0;
    pointer[1] = high(this.argument.address + TIMESPEC_BYTE);
  }

  /** How many entries can be pushed now. */
  room(): number {
    const queued = this.queued();
    return Math.min(this.sqEntries - queued, this.cqEntries - this.running - queued);
  }

  /** Fills one entry; there must be room. `options` is the word of flags that belongs to the operation. Other words stay 0. */
  push(
    opcode: number,
    fd: number,
    offset: number,
    address: number,
    length: number,
    options: number,
    userData: number,
  ): void {
    const base = (this.tail & (this.sqEntries - 1)) * SQE_WORDS;
    const sqes = this.sqes;
    sqes[base] = opcode;
    sqes[base + 1] = fd;
    sqes[base + 2] = offset | 0;
    sqes[base + 3] = high(offset);
    sqes[base + 4] = address | 0;
    sqes[base + 5] = high(address);
    sqes[base + 6] = length;
    sqes[base + 7] = options;
    sqes[base + 8] = userData;
    this.tail = (this.tail + 1) | 0;
  }

  /** Fills an entry whose success leaves no completion; a failure's has `userData`. `canSkip` must hold. */
  pushSkipping(opcode: number, fd: number, address: number, length: number, userData: number): void {
    this.push(opcode | (layout.IOSQE_CQE_SKIP_SUCCESS << 8), fd, 0, address, length, 0, userData);
    this.skipping += 1;
  }

  /** Completions that can be taken without entering the kernel. */
  ready(): number {
    return (Atomics.load(this.words, this.cqTail) - this.words[this.cqHead]!) | 0;
  }

  /** The kernel has completions that only entering it brings out. */
  wantsEntering(): boolean {
    return (Atomics.load(this.words, this.sqFlags) & (SQ.TASKRUN | SQ.CQ_OVERFLOW)) !== 0;
  }

  /** Entries pushed and not yet taken by the kernel. */
  queued(): number {
    return (this.tail - this.head) | 0;
  }

  /** Submits what is queued and lets completions appear, without sleeping. */
  submit(): void {
    this.enter(0, ENTER.GETEVENTS, 0, 0);
  }

  /** The same, and sleeps until a completion is there or `timeoutUs` (above 0, may be Infinity) is over. */
  submitAndSleep(timeoutUs: number): void {
    const us = Math.min(timeoutUs, SLEEP_US_MAX);
    const seconds = Math.floor(us / 1e6);
    this.timespec[0] = seconds;
    this.timespec[2] = Math.floor((us - seconds * 1e6) * 1000);
    this.enter(1, ENTER.GETEVENTS | ENTER.EXT_ARG, this.argument.address, ARGUMENT_BYTES);
  }

  /** Takes the oldest completion, if `ready`: its user data and result come out of `userData` and `result`. */
  take(): void {
    const head = this.words[this.cqHead]!;
    const at = this.cqes + (head & (this.cqEntries - 1)) * CQE_WORDS;
    this.userData = this.words[at]!;
    this.result = this.words[at + 2]!;
    this.running -= 1;
    Atomics.store(this.words, this.cqHead, (head + 1) | 0);
  }
  /** Of the completion taken last. */
  userData = 0;
  result = 0;

  /** Whether this kernel has operation `opcode`. */
  supports(opcode: number): boolean {
    const probe = Buffer.alloc(PROBE.headerBytes + PROBE.entries * PROBE.entryBytes);
    const address = libc.addressOfBuffer(probe);
    const register = layout.SYS_io_uring_register;
    if (libc.syscall(register, this.fd, layout.REGISTER.PROBE, address, PROBE.entries, 0, 0) < 0) return false;
    const entry = PROBE.headerBytes + opcode * PROBE.entryBytes;
    return (probe.readUInt16LE(entry + PROBE.flagsOffset) & PROBE.SUPPORTED) !== 0;
  }

  /**
   * Lets up to `bounded` kernel threads of this ring sleep in the I/O of files at a time, in place of four a processor: what hangs takes one
   * each. Kernels before 5.15 cannot, and keep to theirs.
   */
  allowWorkers(bounded: number): void {
    const most = Buffer.alloc(8);
    most.writeUInt32LE(bounded, 0); // then those for other I/O: 0 leaves them as they are
    const register = layout.SYS_io_uring_register;
    libc.syscall(register, this.fd, layout.REGISTER.IOWQ_MAX_WORKERS, libc.addressOfBuffer(most), 2, 0, 0);
  }

  /** Lets the kernel keep the file `fd` open until every operation of this ring is over: registered files go with the ring. */
  hold(fd: number): void {
    const fds = Buffer.alloc(4);
    fds.writeInt32LE(fd);
    const register = layout.SYS_io_uring_register;
    const result = libc.syscall(register, this.fd, layout.REGISTER.FILES, libc.addressOfBuffer(fds), 1, 0, 0);
    if (result < 0) throw new Failure(`io_uring: cannot register the lock file: ${errnoName(result)}`);
  }

  close(): void {
    libc.close(this.fd);
    libc.munmap(this.rings.address, this.rings.bytes);
    libc.munmap(this.entries.address, this.entries.bytes);
    this.argument.unmap();
  }

  private enter(minComplete: number, flags: number, argument: number, argumentBytes: number): void {
    const queued = this.queued();
    Atomics.store(this.words, this.sqTail, this.tail);
    const enter = layout.SYS_io_uring_enter;
    const result = libc.syscall(enter, this.fd, queued, minComplete, flags, argument, argumentBytes);
    this.head = Atomics.load(this.words, this.sqHead);
    const left = this.queued();
    this.running += queued - left; // not the result: that is ETIME or EINTR at times when entries were taken
    if (left === 0) {
      this.running -= this.skipping;
      this.skipping = 0;
    }
    if (result < 0) assert(isPassing(result), `io_uring_enter must not fail with ${errnoName(result)}`);
  }

  private map(bytes: number, offset: number): number {
    const address = libc.mmap(bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, this.fd, offset);
    if (address < 0) throw new Failure(`io_uring: cannot map its ring of ${bytes} bytes: ${errnoName(address)}`);
    return address;
  }
}

/** Errors of entering that say "nothing now": the time was over, a signal came, the kernel is short of memory. */
const isPassing = (result: number): boolean =>
  result === -E.ETIME || result === -E.EINTR || result === -E.EAGAIN || result === -E.EBUSY;

/** io_uring_setup(2) with the best flags that the kernel takes; fills `params` and returns the descriptor. */
function setUp(sqEntries: number, cqEntries: number, params: Buffer): number {
  let fd = -E.EINVAL;
  for (const flags of FLAG_SETS) {
    params.fill(0);
    params.writeUInt32LE(flags, PARAMS.flags);
    params.writeUInt32LE(cqEntries, PARAMS.cqEntries);
    fd = libc.syscall(layout.SYS_io_uring_setup, sqEntries, libc.addressOfBuffer(params), 0, 0, 0, 0);
    if (fd !== -E.EINVAL) break;
  }
  if (fd < 0) throw new Failure(`io_uring: the kernel refuses a ring: ${errnoName(fd)}`);
  const features = params.readUInt32LE(PARAMS.features);
  if ((features & FEATURES) === FEATURES) return fd;
  libc.close(fd);
  throw new Failure("io_uring: this kernel is too old for it, 5.11 is needed");
}
