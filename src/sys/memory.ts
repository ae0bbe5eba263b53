/**
 * Memory outside the JavaScript heap: anonymous, or a file's pages shared between processes.
 * A mapping is known by its address; typed arrays over parts of it come from `view`.
 */

import { errnoName } from "../base/errno.ts";
import { Failure } from "../base/errors.ts";
import { type Address, asAddress } from "../base/units.ts";
import {
  MADV_HUGEPAGE,
  MADV_POPULATE_WRITE,
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  MAP_SHARED,
  PROT_READ,
  PROT_WRITE,
} from "./constants.ts";
import * as libc from "./libc.ts";

/** The largest view made at once: a Node 20 ArrayBuffer over foreign memory aborts above 4 GiB. */
export const VIEW_BYTES_MAX = 2 ** 30;

export class Mapping {
  readonly address: Address;
  readonly bytes: number;

  private constructor(address: number, bytes: number) {
    this.address = asAddress(address);
    this.bytes = bytes;
  }

  /** `bytes` of zeroed private memory, on huge pages if `huge` and the host has them. */
  static anonymous(bytes: number, huge = false): Mapping {
    const address = libc.mmap(bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (address < 0) throw new Failure(`memory: cannot map ${bytes} bytes: ${errnoName(address)}`);
    if (huge) libc.madvise(address, bytes, MADV_HUGEPAGE);
    return new Mapping(address, bytes);
  }

  /** The first `bytes` of the file `fd`, shared with every other process that maps it. */
  static shared(fd: number, bytes: number): Mapping {
    const address = libc.mmap(bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (address < 0) throw new Failure(`memory: cannot map ${bytes} bytes of the slab: ${errnoName(address)}`);
    return new Mapping(address, bytes);
  }

  /** An ArrayBuffer over `length` bytes from `offset`, at most VIEW_BYTES_MAX. */
  view(offset: number, length: number): ArrayBuffer {
    if (length > VIEW_BYTES_MAX || offset < 0 || offset + length > this.bytes) {
      throw new RangeError(`view of ${length} bytes at ${offset} in a mapping of ${this.bytes}`);
    }
    return libc.viewMemory(this.address + offset, length);
  }

  /** Makes the pages of the first `bytes` present and writable; kernels before 5.14 do that one page at a time, when it is used. */
  populate(bytes = this.bytes): void {
    libc.madvise(this.address, bytes, MADV_POPULATE_WRITE);
  }

  unmap(): void {
    libc.munmap(this.address, this.bytes);
  }
}
