/**
 * What a handler sees of a FUSE request, and where it puts the reply. One of each exists; both are reused, so nothing in
 * them may be kept after the handler returns, except through `request.later()`.
 *
 * Layout (fuse_in_header, include/uapi/linux/fuse.h): len 0, opcode 4, unique 8, nodeid 16, uid 24, gid 28, pid 32,
 * total_extlen 36; the operation's own structure from byte 40.
 */
import { asSlot, type InodeSlot } from "../base/units.ts";

export const IN_HEADER_BYTES = 40;
export const OUT_HEADER_BYTES = 16;
/** Bit 63 of `unique`: the kernel sends this request again after FUSE_NOTIFY_RESEND. */
const RESENT_BIT = 0x80000000;

/** A handler's answer: 0 sends the reply body, a negated error number sends that, or one of these. */
export const PENDING = 1;
export const NO_REPLY = 2;
export type Outcome = number;

/** Finishes a request that its handler left PENDING. Exactly one of the methods is called, once. */
export interface Later {
  /** Sends a negated error number, or 0 with an empty body. */
  end(result: number): void;
  /** Sends the body that `fill` writes. */
  reply(fill: (body: ReplyBody) => void): void;
}

export class Request {
  readonly bytes: Buffer;
  readonly view: DataView;
  private readonly u32s: Uint32Array;
  /** Bytes of the whole request, header included. */
  length = 0;
  private readonly makeLater: (request: Request) => Later;

  /** `memory` holds a request from byte 0; `makeLater` is the session's. */
  constructor(memory: ArrayBuffer, makeLater: (request: Request) => Later) {
    this.bytes = Buffer.from(memory);
    this.view = new DataView(memory);
    this.u32s = new Uint32Array(memory);
    this.makeLater = makeLater;
  }

  get opcode(): number {
    return this.u32s[1]!;
  }
  get uniqueLow(): number {
    return this.u32s[2]!;
  }
  /** The high half of `unique`, without the resend bit. */
  get uniqueHigh(): number {
    return (this.u32s[3]! & ~RESENT_BIT) >>> 0;
  }
  /** The high half as it came: replies must carry the same. */
  get uniqueHighRaw(): number {
    return this.u32s[3]!;
  }
  /** True if an earlier engine may have executed this request already. */
  get resent(): boolean {
    return this.u32s[3]! >= RESENT_BIT;
  }
  /** The inode slot: the low half of nodeid less one; -1 when there is none. */
  get slot(): InodeSlot {
    return asSlot(this.u32s[4]! - 1);
  }
  /** The generation that the high half of nodeid carries. */
  get generation(): number {
    return this.u32s[5]!;
  }
  get uid(): number {
    return this.u32s[6]!;
  }
  get gid(): number {
    return this.u32s[7]!;
  }
  get pid(): number {
    return this.u32s[8]!;
  }

  /** 32-bit field of the operation's structure; `offset` counts from its start. Must be a multiple of 4. */
  u32(offset: number): number {
    return this.u32s[(IN_HEADER_BYTES + offset) >>> 2]!;
  }
  /** 64-bit field, exact up to 2^53. */
  u64(offset: number): number {
    const at = (IN_HEADER_BYTES + offset) >>> 2;
    return this.u32s[at]! + this.u32s[at + 1]! * 4294967296;
  }
  /** 64-bit signed field. */
  i64(offset: number): bigint {
    return this.view.getBigInt64(IN_HEADER_BYTES + offset, true);
  }
  /** The NUL-terminated byte string that starts `offset` bytes into the body, as latin1, without its NUL. */
  name(offset: number): string {
    const from = IN_HEADER_BYTES + offset;
    const end = this.bytes.indexOf(0, from);
    return this.bytes.toString("latin1", from, end < 0 || end > this.length ? this.length : end);
  }
  /** Keeps what is needed to answer after the handler has returned PENDING. */
  later(): Later {
    return this.makeLater(this);
  }
}

/** The body of a reply, without its header; grows as it is written. */
export class ReplyBody {
  readonly bytes: Buffer;
  readonly view: DataView;
  /** Bytes written so far. */
  length = 0;

  /** `memory` is where the body, not the header, goes. */
  constructor(memory: ArrayBuffer, offset: number) {
    this.bytes = Buffer.from(memory, offset);
    this.view = new DataView(memory, offset);
  }

  reset(): void {
    this.length = 0;
  }
  get capacity(): number {
    return this.bytes.length;
  }
  u16(value: number): void {
    this.view.setUint16(this.length, value, true);
    this.length += 2;
  }
  u32(value: number): void {
    this.view.setUint32(this.length, value, true);
    this.length += 4;
  }
  u64(value: number): void {
    this.view.setUint32(this.length, value >>> 0, true);
    this.view.setUint32(this.length + 4, Math.floor(value / 4294967296), true);
    this.length += 8;
  }
  u64Exact(value: bigint): void {
    this.view.setBigUint64(this.length, BigInt.asUintN(64, value), true);
    this.length += 8;
  }
  zeros(count: number): void {
    this.bytes.fill(0, this.length, this.length + count);
    this.length += count;
  }
  /** A byte string kept as latin1. */
  latin1(text: string): void {
    this.length += this.bytes.write(text, this.length, "latin1");
  }
  copy(source: Uint8Array): void {
    this.bytes.set(source, this.length);
    this.length += source.length;
  }
}

/** Serves one opcode. */
export type Handler = (request: Request, body: ReplyBody) => Outcome;
