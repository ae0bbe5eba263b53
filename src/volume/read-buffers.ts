/** Memory for home reads: page-aligned buffers of two sizes, a bounded number of each; who finds none waits in line. */
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

export class ReadBuffers {
  private readonly small = new Shelf(READ_BUFFERS_SMALL, SMALL_BYTES);
  private readonly large = new Shelf(READ_BUFFERS_LARGE, LARGE_BYTES);

  /** Gives `use` a buffer of at least `bytes`, now or when one is free. */
  take(bytes: number, use: (buffer: ReadBuffer) => void): void {
    (bytes <= SMALL_BYTES ? this.small : this.large).take(use);
  }

  give(buffer: ReadBuffer): void {
    (buffer.bytes.length <= SMALL_BYTES ? this.small : this.large).give(buffer);
  }
}
