/** A session over a real slab, with no kernel: requests are byte arrays, replies are read from a file. */
import { closeSync, fstatSync, ftruncateSync, mkdtempSync, openSync, readSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import { onTestFinished } from "vitest";
import { type Clock, systemClock } from "../../src/base/clock.ts";
import { E } from "../../src/base/errno.ts";
import { CACHE_BYTES_MIN, LANDING_FRAMES } from "../../src/base/limits.ts";
import { asFrame } from "../../src/base/units.ts";
import { FrameAllocator } from "../../src/cache/allocator.ts";
import { createSlab, Slab } from "../../src/cache/slab.ts";
import { DevChannel } from "../../src/fuse/channel.ts";
import { In, Opcode } from "../../src/fuse/constants.ts";
import { Negotiation } from "../../src/fuse/negotiation.ts";
import { type Handler, IN_HEADER_BYTES, OUT_HEADER_BYTES } from "../../src/fuse/request.ts";
import { Session } from "../../src/fuse/session.ts";
import { Counters } from "../../src/stats/counters.ts";
import type { Io, PostFailed } from "../../src/sys/io.ts";
import * as libc from "../../src/sys/libc.ts";
import type { Volume } from "../../src/volume/volume.ts";

/** Header and the structure of READ or WRITE. */
export const HEAD_BYTES = IN_HEADER_BYTES + In.WRITE.bytes;
/** Replies that the queue of the fake `Io` takes. */
export const QUEUE = 256;

/** A directory in shared memory that goes with the test. */
function directory(): string {
  const path = mkdtempSync("/dev/shm/hypegear-fuse-");
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

/** A scratch file, open. */
export function file(): number {
  const fd = openSync(join(directory(), "file"), "ax+");
  onTestFinished(() => closeSync(fd));
  return fd;
}

/** The smallest slab, and all its frames free. */
export function memory(): { slab: Slab; allocator: FrameAllocator } {
  const path = join(directory(), "slab");
  const fd = openSync(path, "wx+");
  createSlab(fd, CACHE_BYTES_MIN, "test");
  closeSync(fd);
  const slab = Slab.open(openSync(path, "r+"));
  onTestFinished(() => slab.close());
  const allocator = new FrameAllocator(slab.frames, slab.framesAddress);
  for (let frame = 0; frame < slab.frames; frame++) allocator.release(asFrame(frame));
  return { slab, allocator };
}

/** Leaves every second frame free, after so much use that the queue of runs has slid down and has old runs behind its end. */
export function fragment({ slab, allocator }: ReturnType<typeof memory>): void {
  churn(allocator);
  const one = new Int32Array(1);
  while (allocator.free > 0) {
    allocator.ready();
    allocator.take(1, one);
  }
  for (let frame = 1; frame < slab.frames; frame += 2) allocator.release(asFrame(frame));
  churn(allocator);
  allocator.ready();
}

function churn(allocator: FrameAllocator): void {
  const frames = new Int32Array(LANDING_FRAMES - 1);
  for (let i = 0; i < 40; i++) {
    allocator.ready();
    allocator.take(frames.length, frames);
    for (const frame of frames) allocator.release(asFrame(frame));
  }
}

export interface ReplyHeader {
  error: number;
  unique: number;
  bytes: number;
}

interface Posted {
  address: number;
  bytes: number;
  tag: number;
}

/** `/dev/fuse` as a test plays it. Errors in `refusals` are what the kernel says to the next replies. */
export class Kernel extends DevChannel {
  readonly requests: Buffer[] = [];
  readonly refusals: number[] = [];
  /** Node ids that it forgets, before all requests, in batches as large as the memory for them. */
  forgets: bigint[] = [];
  private readonly input = file();
  private readonly posted: Posted[];
  private postFailed: PostFailed | undefined;

  constructor() {
    const posted: Posted[] = [];
    const post: Io["post"] = (_, address, bytes, tag) =>
      posted.length < QUEUE && posted.push({ address, bytes, tag }) > 0;
    super(file(), { post } as Io);
    this.posted = posted;
  }

  override receive(iov: number, count: number): number {
    const next = this.forgets.length > 0 ? this.batch(roomOf(iov, count)) : this.requests.shift();
    if (next === undefined) return -E.EAGAIN;
    ftruncateSync(this.input, 0);
    writeSync(this.input, next);
    return libc.preadv(this.input, iov, count, 0);
  }

  private batch(room: number): Buffer {
    const { count, entries, entryBytes } = In.BATCH_FORGET;
    const nodes = this.forgets.splice(0, Math.floor((room - IN_HEADER_BYTES - entries) / entryBytes));
    const body = Buffer.alloc(entries + nodes.length * entryBytes);
    body.writeUInt32LE(nodes.length, count);
    for (const [i, node] of nodes.entries()) {
      body.writeBigUInt64LE(node, entries + i * entryBytes);
      body.writeBigUInt64LE(1n, entries + i * entryBytes + 8);
    }
    return request(Opcode.BATCH_FORGET, 1, body);
  }

  override send(address: number, bytes: number): number {
    return this.refusals.shift() ?? super.send(address, bytes);
  }

  override sendGathered(iov: number, count: number): number {
    return this.refusals.shift() ?? super.sendGathered(iov, count);
  }

  override whenPostFails(failed: PostFailed): void {
    this.postFailed = failed;
  }

  /** What the loop does too when it goes to sleep. */
  override sendPosted(): void {
    for (const { address, bytes, tag } of this.posted.splice(0)) {
      const result = this.send(address, bytes);
      if (result < 0) this.postFailed?.(tag, result);
    }
  }

  /** What was sent since the last call. */
  replies(): ReplyHeader[] {
    const bytes = Buffer.alloc(fstatSync(this.fd).size);
    readSync(this.fd, bytes, 0, bytes.length, 0);
    ftruncateSync(this.fd, 0);
    const replies: ReplyHeader[] = [];
    for (let at = 0; at < bytes.length; at += replies.at(-1)!.bytes)
      replies.push({
        bytes: Math.max(OUT_HEADER_BYTES, bytes.readUInt32LE(at)),
        error: bytes.readInt32LE(at + 4),
        unique: Number(bytes.readBigUInt64LE(at + 8)),
      });
    return replies;
  }
}

/** Bytes that `count` entries of a native iovec array name. */
function roomOf(iov: number, count: number): number {
  const words = new BigUint64Array(libc.viewMemory(iov, count * 16));
  return Number(words.reduce((sum, word, i) => (i % 2 === 1 ? sum + word : sum), 0n));
}

/** A request as the kernel writes it: its header, then `body`. */
export function request(opcode: number, unique: number, body: Buffer): Buffer {
  const header = Buffer.alloc(IN_HEADER_BYTES);
  header.writeUInt32LE(IN_HEADER_BYTES + body.length, 0);
  header.writeUInt32LE(opcode, 4);
  header.writeBigUInt64LE(BigInt(unique), 8);
  header.writeBigUInt64LE(2n, 16);
  return Buffer.concat([header, body]);
}

/** A READ of `size` bytes at the file's start. */
export function readRequest(unique: number, size: number): Buffer {
  const body = Buffer.alloc(In.READ.bytes);
  body.writeUInt32LE(size, In.READ.size);
  return request(Opcode.READ, unique, body);
}

/** A WRITE of `size` bytes at the file's start. */
export function writeRequest(unique: number, size: number): Buffer {
  const body = Buffer.alloc(In.WRITE.bytes + size);
  body.writeUInt32LE(size, In.WRITE.size);
  return request(Opcode.WRITE, unique, body);
}

/** Keeps as many answers as a test says. */
class Keeping {
  together = 1;
  private kept = 0;

  keep(): boolean {
    this.kept = (this.kept + 1) % this.together;
    return this.kept === 0;
  }
}

export interface SessionRig {
  session: Session;
  kernel: Kernel;
  slab: Slab;
  allocator: FrameAllocator;
  batching: Keeping;
  counters: Counters;
  /** What the session had logged. */
  logged: unknown[];
}

/** A session whose data operations are `volume`'s. */
export function sessionRig(
  volume: { write?: Volume["write"]; read?: Volume["read"] },
  handlers: Partial<Record<number, Handler>> = {},
  clock: Clock = systemClock(),
): SessionRig {
  const { slab, allocator } = memory();
  const kernel = new Kernel();
  const batching = new Keeping();
  const counters = new Counters(new Float64Array(1024));
  const logged: unknown[] = [];
  const session = new Session({
    channel: kernel,
    batching,
    slab,
    counters,
    clock,
    negotiation: new Negotiation(new ArrayBuffer(4096)),
    isKnown: () => true,
    crashed: (error) => logged.push(error),
    refused: (result, bytes) => logged.push([result, bytes]),
  });
  session.attach({ ...volume, cache: { allocator } } as unknown as Volume, () => 0, handlers);
  return { session, kernel, slab, allocator, batching, counters, logged };
}
