/**
 * One mount's conversation with the kernel: takes requests from the channel, serves READ and WRITE on the shortest way, and
 * gives all others to the opcode table. What the table lacks is ENOSYS.
 *
 * A request's first 80 bytes (header and the structure of READ or WRITE) land in `memory`, the rest in the landing window:
 * a WRITE's payload is then already in the frames that will hold it. Other requests' rest is copied behind the 80 bytes.
 */
import type { Clock } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { INODES_MAX, REQUEST_BYTES_MAX, REQUEST_PAGES_MAX } from "../base/limits.ts";
import { BLOCK_BYTES, type InodeSlot, SECTOR_BYTES } from "../base/units.ts";
import type { Slab } from "../cache/slab.ts";
import { Counter, type Counters, HistogramSlot } from "../stats/counters.ts";
import { O } from "../sys/constants.ts";
import { IoVector } from "../sys/iovec.ts";
import { Mapping } from "../sys/memory.ts";
import type { SendRead } from "../volume/reader.ts";
import { PARKED, type Volume } from "../volume/volume.ts";
import type { Batching } from "./batching.ts";
import { type Channel, isGone } from "./channel.ts";
import { In, Notify, Opcode, WriteFlag } from "./constants.ts";
import { Landing, shiftPayload } from "./landing.ts";
import type { Negotiation } from "./negotiation.ts";
import {
  type Handler,
  IN_HEADER_BYTES,
  type Later,
  NO_REPLY,
  OUT_HEADER_BYTES,
  PENDING,
  ReplyBody,
  Request,
} from "./request.ts";
import { ShortAnswers } from "./short-answers.ts";

/** Header and the structure of READ or WRITE. */
const HEAD_BYTES = IN_HEADER_BYTES + In.WRITE.bytes;
const MEMORY_BYTES = REQUEST_BYTES_MAX + 2 * BLOCK_BYTES;

/** How a turn of `serve` ended. */
export const Served = { idle: 0, budget: 1, starved: 2, gone: 3 } as const;
export type Served = (typeof Served)[keyof typeof Served];

export interface SessionOptions {
  channel: Channel;
  slab: Slab;
  counters: Counters;
  clock: Clock;
  negotiation: Negotiation;
  batching: Pick<Batching, "together" | "keep">;
  /** True if nodeid and generation are those of a file that the kernel may know. */
  isKnown: (slot: InodeSlot, generation: number) => boolean;
  /** A handler threw: logged once, answered with EIO. */
  crashed: (error: unknown, request: Request) => void;
  /** The kernel did not take a reply of `bytes` bytes; EIO was sent in its place. */
  refused: (result: number, bytes: number) => void;
}

/**
 * The content of a file is about to change: takes its capabilities away, and set-user-id and set-group-id unless who changes it
 * `keepsSetId`. 0 or a negated error number.
 */
export type ContentChanging = (slot: InodeSlot, keepsSetId: boolean) => number;

export class Session {
  private readonly memory = Mapping.anonymous(MEMORY_BYTES);
  private readonly options: SessionOptions;
  private readonly request: Request;
  private readonly out = Mapping.anonymous(OUT_HEADER_BYTES + MEMORY_BYTES);
  private readonly outWords: Uint32Array;
  private readonly body: ReplyBody;
  private readonly answers: ShortAnswers;
  private readonly iov = new IoVector(REQUEST_PAGES_MAX + 4);
  private readonly taken = new Int32Array(REQUEST_PAGES_MAX + 1);
  private handlers: (Handler | undefined)[] = [];
  private volume!: Volume;
  private landing!: Landing;
  private changing!: ContentChanging;
  /** Requests served by this engine. */
  served = 0;
  /** When the READ or WRITE being handled was taken, as far as the clock was read. */
  private startedUs = 0;
  /** The ways to answer the READ or WRITE being handled later. Made once, not anew for each that is answered at once. */
  private readonly deferRead = (): SendRead => {
    const { request, startedUs } = this;
    const { uniqueLow: low, uniqueHighRaw: high } = request;
    return (result, iov, entries) => {
      if (iov === undefined) this.sendError(result, low, high);
      else this.sendRead(iov, entries, low, high, startedUs);
    };
  };
  private readonly deferWrite = (): ((result: number) => void) => {
    const { request, startedUs } = this;
    const { slot, uniqueLow: low, uniqueHighRaw: high } = request;
    const openFlags = request.u32(In.WRITE.flags);
    return (result) => this.wrote(slot, openFlags, result, low, high, startedUs);
  };

  constructor(options: SessionOptions) {
    this.options = options;
    this.memory.populate(); // see `Slab.populate`
    this.request = new Request(this.memory.view(0, MEMORY_BYTES), (request) => this.later(request));
    const out = this.out.view(0, this.out.bytes);
    this.outWords = new Uint32Array(out, 0, OUT_HEADER_BYTES / 4);
    this.body = new ReplyBody(out, OUT_HEADER_BYTES);
    const sent = this.sent.bind(this);
    this.answers = new ShortAnswers({ ...options, sent });
  }

  /**
   * Connects the data path, what a write does to privileges, and the table of all other operations.
   */
  attach(volume: Volume, changing: ContentChanging, handlers: Partial<Record<number, Handler>>): void {
    this.volume = volume;
    this.landing = new Landing(this.options.slab, volume.cache.allocator, this.memory.address, HEAD_BYTES);
    this.changing = changing;
    this.handlers = [];
    for (const [opcode, handler] of Object.entries(handlers)) this.handlers[Number(opcode)] = handler;
  }

  /** Serves up to `budget` requests, until none waits. */
  serve(budget: number): Served {
    this.answers.beginTurn();
    const outcome = this.serveUpTo(budget);
    this.answers.endTurn();
    return outcome;
  }

  private serveUpTo(budget: number): Served {
    const { channel } = this.options;
    const { landing } = this;
    const { allocator } = this.volume.cache;
    for (let left = budget; left > 0; left--) {
      if (!allocator.ready()) return Served.starved;
      const bytes = channel.receive(landing.address, landing.aim());
      if (bytes < 0) {
        if (bytes === -E.EAGAIN) return Served.idle;
        if (isGone(bytes)) return Served.gone;
        continue; // EINTR, ENOENT: withdrawn before we had it
      }
      this.request.length = bytes;
      this.handle();
      this.served++;
    }
    return Served.budget;
  }

  private handle(): void {
    const { request } = this;
    try {
      if (request.length > HEAD_BYTES) this.landing.landed(request.length - HEAD_BYTES);
      if (request.slot < INODES_MAX) {
        if (request.opcode === Opcode.WRITE) {
          this.write(request.slot);
          return;
        }
        if (request.opcode === Opcode.READ) {
          this.read(request.slot);
          return;
        }
      }
      this.dispatch();
    } catch (error) {
      this.options.crashed(error, request);
      this.sendError(-E.EIO, request.uniqueLow, request.uniqueHighRaw);
    }
  }

  private dispatch(): void {
    const { request, body } = this;
    const { opcode } = request;
    if (opcode !== Opcode.WRITE && request.length > HEAD_BYTES) {
      this.landing.copyTo(request.bytes.subarray(HEAD_BYTES), request.length - HEAD_BYTES);
    }
    const handler = this.handlers[opcode];
    body.reset();
    const outcome = handler === undefined ? -E.ENOSYS : handler(request, body);
    if (outcome === PENDING || outcome === NO_REPLY) return;
    if (outcome < 0) this.sendError(outcome, request.uniqueLow, request.uniqueHighRaw);
    else this.sendBody(request.uniqueLow, request.uniqueHighRaw);
  }

  /** The bytes of the WRITE being handled, for files that are not images. */
  payload(): Buffer {
    const bytes = Buffer.alloc(this.request.length - HEAD_BYTES);
    this.landing.copyTo(bytes, bytes.length);
    return bytes;
  }

  private write(slot: InodeSlot): void {
    const { request, volume, options } = this;
    this.startedUs = options.clock.lastUs;
    const offset = request.u64(In.WRITE.offset);
    const size = request.u32(In.WRITE.size);
    const openFlags = request.u32(In.WRITE.flags);
    const refused = this.refusal(slot, request.u32(In.WRITE.writeFlags), size, offset, openFlags);
    if (refused < 0 || size === 0) {
      this.sendWritten(refused, request.uniqueLow, request.uniqueHighRaw, this.startedUs);
      return;
    }
    const shift = offset % BLOCK_BYTES;
    volume.cache.allocator.take(Math.ceil((shift + size) / BLOCK_BYTES), this.taken);
    if (shift !== 0) shiftPayload(options.slab, this.taken, size, shift);
    const result = volume.write(slot, offset, size, this.taken, this.deferWrite);
    if (result !== PARKED)
      this.wrote(slot, openFlags, result, request.uniqueLow, request.uniqueHighRaw, this.startedUs);
  }

  /** Answers a write; one with O_DSYNC or O_SYNC (the kernel leaves them to us) only when it is as safe as a flush makes it. */
  private wrote(
    slot: InodeSlot,
    openFlags: number,
    result: number,
    low: number,
    high: number,
    startedUs: number,
  ): void {
    if ((openFlags & O.DSYNC) === 0 || result <= 0) {
      this.sendWritten(result, low, high, startedUs);
      return;
    }
    this.volume.flush(slot, (openFlags & O.SYNC) !== O.SYNC, (flushed) =>
      this.sendWritten(flushed < 0 ? flushed : result, low, high, startedUs),
    );
  }

  /** What forbids a write: 0 or a negated error number. */
  private refusal(slot: InodeSlot, writeFlags: number, size: number, offset: number, openFlags: number): number {
    if (!this.options.isKnown(slot, this.request.generation)) return -E.ESTALE;
    if (offset + size > Number.MAX_SAFE_INTEGER) return -E.EFBIG; // from there on no count of blocks is exact
    const paged = (writeFlags & WriteFlag.CACHE) !== 0;
    if (!paged && isMisaligned(openFlags, offset, size)) return -E.EINVAL;
    return this.changing(slot, (writeFlags & WriteFlag.KILL_SUIDGID) === 0);
  }

  private sendWritten(result: number, low: number, high: number, startedUs: number): void {
    if (result < 0) this.sendError(result, low, high);
    else this.answers.wrote(result, low, high, startedUs);
  }

  private read(slot: InodeSlot): void {
    const { request, volume } = this;
    this.startedUs = this.options.clock.lastUs;
    const low = request.uniqueLow;
    const high = request.uniqueHighRaw;
    const offset = request.u64(In.READ.offset);
    const size = request.u32(In.READ.size);
    if (!this.options.isKnown(slot, request.generation)) {
      this.sendError(-E.ESTALE, low, high);
      return;
    }
    if (isMisaligned(request.u32(In.READ.flags), offset, size)) {
      this.sendError(-E.EINVAL, low, high);
      return;
    }
    const count = volume.read(slot, offset, size, this.iov, this.deferRead);
    if (count < 0) this.sendError(count, low, high);
    else if (count > 0) this.sendRead(this.iov, count, low, high, this.startedUs);
  }

  /** Sends what entries 1 to `count` - 1 of `iov` hold. */
  private sendRead(iov: IoVector, count: number, low: number, high: number, startedUs: number): void {
    const bytes = iov.bytes(1, count);
    this.header(OUT_HEADER_BYTES + bytes, 0, low, high);
    iov.set(0, this.out.address, OUT_HEADER_BYTES);
    this.sent(this.options.channel.sendGathered(iov.address, count), OUT_HEADER_BYTES + bytes, low, high);
    const { counters } = this.options;
    counters.at[Counter.readRequests]! += 1;
    counters.at[Counter.readBytes]! += bytes;
    counters.observe(HistogramSlot.read, this.options.clock.nowUs() - startedUs);
  }

  private header(bytes: number, error: number, low: number, high: number): void {
    this.outWords[0] = bytes;
    this.outWords[1] = error;
    this.outWords[2] = low;
    this.outWords[3] = high;
  }

  private sendError(error: number, low: number, high: number): void {
    this.answers.ended(error, low, high);
  }

  /** Sends what the body has, if anything. */
  private sendBody(low: number, high: number): void {
    if (this.body.length === 0) {
      this.sendError(0, low, high);
      return;
    }
    const bytes = OUT_HEADER_BYTES + this.body.length;
    this.header(bytes, 0, low, high);
    this.sent(this.options.channel.send(this.out.address, bytes), bytes, low, high);
  }

  /**
   * A reply of `bytes` bytes was sent with this `result`. The client of one that the kernel refuses would wait for ever, so it
   * gets EIO. ENOENT: nobody waits for the reply.
   */
  private sent(result: number, bytes: number, low: number, high: number): void {
    if (result >= 0 || result === -E.ENOENT || isGone(result)) return;
    this.options.refused(result, bytes);
    this.header(OUT_HEADER_BYTES, -E.EIO, low, high);
    this.options.channel.send(this.out.address, OUT_HEADER_BYTES);
  }

  private later(request: Request): Later {
    const low = request.uniqueLow;
    const high = request.uniqueHighRaw;
    return {
      end: (result) => this.sendError(result, low, high),
      reply: (fill) => {
        this.body.reset();
        fill(this.body);
        this.sendBody(low, high);
      },
    };
  }

  /** Asks the kernel to send again what an earlier engine took and did not answer. 0 or a negated error number. */
  resend(): number {
    this.header(OUT_HEADER_BYTES, Notify.RESEND, 0, 0);
    const result = this.options.channel.send(this.out.address, OUT_HEADER_BYTES);
    return Math.min(result, 0);
  }
}

/** O_DIRECT is for whole sectors; QEMU probes with less to learn the alignment. */
const isMisaligned = (openFlags: number, offset: number, size: number): boolean =>
  (openFlags & O.DIRECT) !== 0 && (offset % SECTOR_BYTES !== 0 || size % SECTOR_BYTES !== 0);
