/**
 * Memory for home reads: page-aligned buffers of two sizes, a bounded number of each for each device, so that one that hangs does not
 * keep them all; who finds none waits in line.
 */
import { READ_BUFFERS_LARGE, READ_BUFFERS_SMALL, REQUEST_BYTES_MAX } from "../base/limits.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { IoVector } from "../sys/iovec.ts";
import { Mapping } from "../sys/memory.ts";

const SMALL_BYTES = 64 * 1024 + 2 * BLOCK_BYTES;
const LARGE_BYTES = REQUEST_BYTES_MAX + 2 * BLOCK_BYTES;

/** One buffer, with the iovec array that a reply made from it needs. */
export interface ReadBuffer {
  readonly address: number;
  readonly bytes: Uint8Array;
  /** Entry 0 is for the home read, and later for the reply's header. */
  readonly iov: IoVector;
  /** Where it belongs. */
  readonly shelf: Shelf;
}

class Shelf {
  private readonly idle: ReadBuffer[] = [];
  private readonly line: ((buffer: ReadBuffer) => void)[] = [];
  private readonly mapping: Mapping;
  private readonly count: number;
  private readonly bytes: number;
  /** Buffers made so far: one that is not needed is not made. */
  private made = 0;

  constructor(count: number, bytes: number) {
    this.count = count;
    this.bytes = bytes;
    this.mapping = Mapping.anonymous(count * bytes);
  }

  private make(): ReadBuffer {
    const at = this.made++ * this.bytes;
    return {
      address: this.mapping.address + at,
      bytes: new Uint8Array(this.mapping.view(at, this.bytes)),
      iov: new IoVector(Math.ceil(this.bytes / BLOCK_BYTES) + 2),
      shelf: this,
    };
  }

  take(use: (buffer: ReadBuffer) => void): void {
    const idle = this.idle.pop();
    if (idle !== undefined) use(idle);
    else if (this.made < this.count) use(this.make());
    else this.line.push(use);
  }

  give(buffer: ReadBuffer): void {
    const next = this.line.shift();
    if (next === undefined) this.idle.push(buffer);
    else next(buffer);
  }
}

interface Shelves {
  small: Shelf;
  large: Shelf;
}

export class ReadBuffers {
  private readonly devices = new Map<number, Shelves>();

  /** Gives `use` a buffer of at least `bytes` for a read from `device`, now or when one is free. */
  take(device: number, bytes: number, use: (buffer: ReadBuffer) => void): void {
    let shelves = this.devices.get(device);
    if (shelves === undefined) {
      shelves = {
        small: new Shelf(READ_BUFFERS_SMALL, SMALL_BYTES),
        large: new Shelf(READ_BUFFERS_LARGE, LARGE_BYTES),
      };
      this.devices.set(device, shelves);
    }
    (bytes <= SMALL_BYTES ? shelves.small : shelves.large).take(use);
  }

  give(buffer: ReadBuffer): void {
    buffer.shelf.give(buffer);
  }
}
