/** A namespace on a scratch backing directory, with a real slab and no kernel: requests are byte arrays, replies are decoded. */
import { closeSync, constants, mkdtempSync, openSync, rmSync, unlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "../../src/base/clock.ts";
import { CACHE_BYTES_MIN } from "../../src/base/limits.ts";
import { asSlot, type InodeSlot } from "../../src/base/units.ts";
import { ImageFlag, ImageTable } from "../../src/cache/image.ts";
import { createSlab, Slab } from "../../src/cache/slab.ts";
import { Namespace } from "../../src/fs/context.ts";
import { Inodes } from "../../src/fs/inodes.ts";
import { Memory } from "../../src/fs/memory.ts";
import { namespaceHandlers } from "../../src/fs/namespace.ts";
import { restoreInodes } from "../../src/fs/settle.ts";
import { Opcode } from "../../src/fuse/constants.ts";
import {
  type Handler,
  IN_HEADER_BYTES,
  type Later,
  NO_REPLY,
  PENDING,
  ReplyBody,
  Request,
} from "../../src/fuse/request.ts";
import type { Io } from "../../src/sys/io.ts";
import * as libc from "../../src/sys/libc.ts";
import type { ImageData } from "../../src/volume/contract.ts";

/** Blocks that a dirty image has beside those at home. */
export const DIRTY_BLOCKS = 3;

/** Data operations on the backing files themselves; a test marks images dirty by hand. */
export class PlainData implements ImageData {
  readonly dirty = new Set<InodeSlot>();
  readonly discarded: InodeSlot[] = [];
  /** Slots of which a flush must make more than data durable. */
  readonly changed = new Set<InodeSlot>();
  readonly mtimes = new Map<InodeSlot, number>();
  /** Of a flush home, when its image is clean. */
  flushResult = 0;
  private readonly waiting = new Map<InodeSlot, (() => void)[]>();
  private readonly inodes: Inodes;

  constructor(inodes: Inodes) {
    this.inodes = inodes;
  }
  isDirty(slot: InodeSlot): boolean {
    return this.dirty.has(slot);
  }
  dirtyBlocks(slot: InodeSlot): number {
    return this.dirty.has(slot) ? DIRTY_BLOCKS : 0;
  }
  truncate(slot: InodeSlot, size: number, done: (result: number) => void): void {
    const fd = this.inodes.openHome(slot, 0);
    if (fd < 0) return done(fd);
    const result = libc.ftruncate(fd, size);
    libc.close(fd);
    done(result);
  }
  discard(slot: InodeSlot, done: () => void): void {
    if (this.dirty.delete(slot)) this.discarded.push(slot);
    done();
  }
  release(slot: InodeSlot, done: (isReleased: boolean) => void): void {
    done(!this.dirty.has(slot));
  }
  flushHome(slot: InodeSlot, done: (result: number) => void): void {
    this.whenClean(slot, () => done(this.flushResult));
  }
  whenClean(slot: InodeSlot, clean: () => void): void {
    if (!this.dirty.has(slot)) return clean();
    this.waiting.set(slot, [...(this.waiting.get(slot) ?? []), clean]);
  }
  besides(_: InodeSlot, change: () => number): number {
    return change();
  }
  attributesChanged(slot: InodeSlot): void {
    this.changed.add(slot);
  }
  mtimeSet(slot: InodeSlot, seconds: number): void {
    this.mtimes.set(slot, seconds);
  }
  /** The image's data has gone home. */
  clean(slot: InodeSlot): void {
    this.dirty.delete(slot);
    for (const call of this.waiting.get(slot) ?? []) call();
    this.waiting.delete(slot);
  }
}

/** The parts of a fuse_attr that tests look at. */
export interface Attr {
  ino: number;
  size: number;
  blocks: number;
  mtime: number;
  ctime: number;
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  rdev: number;
}

export class Reply {
  /** 0 or a negated error number; NO_REPLY for none. */
  readonly error: number;
  readonly body: Buffer;

  constructor(error: number, body: Buffer) {
    this.error = error;
    this.body = body;
  }
  attr(at: number): Attr {
    const { body } = this;
    return {
      ino: Number(body.readBigUInt64LE(at)),
      size: Number(body.readBigUInt64LE(at + 8)),
      blocks: Number(body.readBigUInt64LE(at + 16)),
      mtime: Number(body.readBigInt64LE(at + 32)),
      ctime: Number(body.readBigInt64LE(at + 40)),
      mode: body.readUInt32LE(at + 60),
      nlink: body.readUInt32LE(at + 64),
      uid: body.readUInt32LE(at + 68),
      gid: body.readUInt32LE(at + 72),
      rdev: body.readUInt32LE(at + 76),
    };
  }
  /** The attributes of an entry reply. */
  get entry(): Attr {
    return this.attr(40);
  }
  /** The node id of an entry reply. */
  get node(): bigint {
    return this.body.readBigUInt64LE(0);
  }
  get slot(): InodeSlot {
    return asSlot(Number(this.node & 0xffffffffn) - 1);
  }
}

export interface Call {
  node?: bigint;
  uid?: number;
  gid?: number;
  unique?: number;
  resent?: boolean;
}

export const ROOT_NODE = 1n;
/** Thrown where a test has the engine die. */
export class Killed extends Error {}

/** Little-endian fields and NUL-terminated latin1 strings, one after the other. */
export function fields(...parts: (number | bigint | string)[]): Buffer {
  return Buffer.concat(
    parts.map((part) => {
      if (typeof part === "string") return Buffer.from(`${part}\0`, "latin1");
      const bytes = Buffer.alloc(typeof part === "bigint" ? 8 : 4);
      if (typeof part === "bigint") bytes.writeBigUInt64LE(BigInt.asUintN(64, part));
      else bytes.writeUInt32LE(part >>> 0);
      return bytes;
    }),
  );
}

export interface RigOptions {
  showControl?: boolean;
  control?: Handler;
  accessLists?: boolean;
  keepsSetId?: boolean;
  /** Beneath which directory the backing directory is made. */
  beneath?: string;
}

export class Rig {
  readonly backing: string;
  readonly slabPath: string;
  slab: Slab;
  inodes: Inodes;
  data: PlainData;
  memory: Memory;
  images: ImageTable;
  handlers: Partial<Record<number, Handler>>;
  private rootFd: number;
  private nextUnique = 2;
  private readonly options: RigOptions;
  private readonly request: Request;
  private readonly body = new ReplyBody(new ArrayBuffer(1 << 17), 16);
  private ended: Reply | undefined;

  constructor(options: RigOptions = {}) {
    this.options = options;
    this.backing = mkdtempSync(join(options.beneath ?? tmpdir(), "hypegear-fs-"));
    this.slabPath = join(mkdtempSync("/dev/shm/hypegear-fs-"), "slab");
    const fd = openSync(this.slabPath, "wx+");
    createSlab(fd, CACHE_BYTES_MIN, "test");
    closeSync(fd);
    this.request = new Request(new ArrayBuffer(1 << 17), () => this.later());
    [this.slab, this.rootFd, this.images, this.inodes, this.data, this.memory, this.handlers] = this.open();
    this.inodes.begin();
    libc.umask(0);
  }

  private open(): [Slab, number, ImageTable, Inodes, PlainData, Memory, Partial<Record<number, Handler>>] {
    const slab = Slab.open(openSync(this.slabPath, "r+"));
    const rootFd = openSync(this.backing, constants.O_RDONLY | constants.O_DIRECTORY);
    const images = new ImageTable(slab.inodes());
    const inodes = new Inodes(slab, images, rootFd);
    const data = new PlainData(inodes);
    inodes.attach(data);
    const memory = new Memory(slab.memory());
    const io = {
      fsync: (sync: number, _: boolean, done: (result: number) => void) => done(libc.fsync(sync)),
    } as unknown as Io;
    const { showControl = false, control, accessLists = false, keepsSetId = true } = this.options;
    const handlers = namespaceHandlers(
      new Namespace({
        inodes,
        data,
        memory,
        io,
        clock: systemClock(),
        openFlags: () => 1,
        showControl,
        accessLists: () => accessLists,
        keepsSetId,
        ...(control === undefined ? {} : { control }),
      }),
    );
    return [slab, rootFd, images, inodes, data, memory, handlers];
  }

  /** Kills the engine and starts the next, which finds the slab; `dirty` images are still so. */
  restart(adopted = false): void {
    const dirty = [...this.data.dirty];
    this.shut();
    [this.slab, this.rootFd, this.images, this.inodes, this.data, this.memory, this.handlers] = this.open();
    for (const slot of dirty) this.data.dirty.add(slot);
    restoreInodes(this.inodes, this.memory, adopted, () => undefined);
  }

  private shut(): void {
    this.inodes.close();
    closeSync(this.rootFd);
    this.slab.close();
  }

  close(): void {
    this.shut();
    unlinkSync(this.slabPath);
    rmSync(join(this.slabPath, ".."), { recursive: true });
    rmSync(this.backing, { recursive: true, force: true });
  }

  private later(): Later {
    return {
      end: (result) => void (this.ended = new Reply(result, Buffer.alloc(0))),
      reply: (fill) => {
        this.body.reset();
        fill(this.body);
        this.ended = new Reply(0, Buffer.from(this.body.bytes.subarray(0, this.body.length)));
      },
    };
  }

  /** The answer to the last request that was PENDING; undefined: not yet. */
  get answer(): Reply | undefined {
    return this.ended;
  }

  /** Sends one request, as the kernel would, and decodes the answer. */
  send(opcode: number, body: Buffer, call: Call = {}): Reply {
    const unique = call.unique ?? (this.nextUnique += 2);
    const { bytes, view } = this.request;
    this.request.length = IN_HEADER_BYTES + body.length;
    view.setUint32(0, this.request.length, true);
    view.setUint32(4, opcode, true);
    view.setUint32(8, unique, true);
    view.setUint32(12, call.resent ? 0x80000000 : 0, true);
    view.setBigUint64(16, call.node ?? ROOT_NODE, true);
    view.setUint32(24, call.uid ?? 0, true);
    view.setUint32(28, call.gid ?? 0, true);
    bytes.set(body, IN_HEADER_BYTES);
    bytes.fill(0xdb, this.request.length, this.request.length + 64); // what an earlier, longer request left
    this.body.reset();
    this.ended = undefined;
    const outcome = this.handlers[opcode]!(this.request, this.body);
    if (outcome === PENDING) return this.ended ?? new Reply(PENDING, Buffer.alloc(0));
    const length = outcome === 0 ? this.body.length : 0;
    return new Reply(outcome, Buffer.from(this.body.bytes.subarray(0, length)));
  }

  lookup(name: string, node = ROOT_NODE): Reply {
    return this.send(Opcode.LOOKUP, fields(name), { node });
  }
  getattr(node: bigint): Reply {
    return this.send(Opcode.GETATTR, fields(0n, 0n), { node });
  }
  forget(node: bigint, count = 1n): Reply {
    return this.send(Opcode.FORGET, fields(count), { node });
  }
  /** Forgets one look-up of each of `nodes`. */
  forgetMany(nodes: readonly bigint[]): Reply {
    const entries = nodes.flatMap((node) => [node, 1n]);
    return this.send(Opcode.BATCH_FORGET, fields(nodes.length, 0, ...entries));
  }
  mkdir(name: string, mode = 0o755, call: Call = {}): Reply {
    return this.send(Opcode.MKDIR, fields(mode, 0, name), call);
  }
  create(name: string, call: Call = {}, flags = 0o302, mode = 0o644, umask = 0): Reply {
    return this.send(Opcode.CREATE, fields(flags, mode, umask, 0, name), call);
  }
  unlink(name: string, call: Call = {}): Reply {
    return this.send(Opcode.UNLINK, fields(name), call);
  }
  rename(from: string, to: string, flags = 0, newNode = ROOT_NODE, call: Call = {}): Reply {
    return this.send(Opcode.RENAME2, fields(newNode, flags, 0, from, to), call);
  }
  link(node: bigint, name: string, call: Call = {}): Reply {
    return this.send(Opcode.LINK, fields(node, name), call);
  }

  /** Makes `slot` look as it does after a write of the cache beyond the end of its backing file. */
  dirty(slot: InodeSlot, size: number, mtime: number): void {
    this.data.dirty.add(slot);
    this.images.setSize(slot, size);
    this.images.setMtime(slot, mtime, 0);
    this.images.setFlags(slot, this.images.flags(slot) | ImageFlag.size | ImageFlag.mtime);
  }
}

/** What is left to the reader of a handler that gives no reply. */
export { NO_REPLY };
