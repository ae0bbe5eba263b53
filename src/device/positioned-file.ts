/** A file or block device that is read and written at given positions, waiting for it: offline, and at an engine's start. */
import { closeSync, fstatSync, fsyncSync, openSync, readSync, writeSync } from "node:fs";
import { E } from "../base/errno.ts";
import * as libc from "../sys/libc.ts";

const SEEK_END = 2;

/** The negated error number of what a call of `node:fs` threw. */
export const errnoOf = (error: unknown): number => (error as NodeJS.ErrnoException).errno ?? -E.EIO;

export class PositionedFile {
  readonly fd: number;
  readonly isDevice: boolean;

  constructor(fd: number) {
    this.fd = fd;
    this.isDevice = fstatSync(fd).isBlockDevice();
  }

  /** A negated error number when it cannot be opened. */
  static open(path: string, flags: number, mode?: number): PositionedFile | number {
    try {
      return new PositionedFile(openSync(path, flags, mode));
    } catch (error) {
      return errnoOf(error);
    }
  }

  /** Bytes. */
  get size(): number {
    return this.isDevice ? libc.lseek(this.fd, 0, SEEK_END) : fstatSync(this.fd).size;
  }

  /** Fills `into` from `offset`; the bytes read (fewer at the end), or a negated error number. */
  read(offset: number, into: Uint8Array): number {
    return this.whole(into, (done) => readSync(this.fd, into, done, into.length - done, offset + done));
  }

  /** Writes all of `bytes`; their number, or a negated error number. */
  write(offset: number, bytes: Uint8Array): number {
    const written = this.whole(bytes, (done) => writeSync(this.fd, bytes, done, bytes.length - done, offset + done));
    return written >= 0 && written < bytes.length ? -E.EIO : written;
  }

  private whole(bytes: Uint8Array, step: (done: number) => number): number {
    let done = 0;
    try {
      while (done < bytes.length) {
        const moved = step(done);
        if (moved === 0) break;
        done += moved;
      }
    } catch (error) {
      return errnoOf(error);
    }
    return done;
  }

  /** fsync(2): 0 or a negated error number. */
  flush(): number {
    try {
      fsyncSync(this.fd);
      return 0;
    } catch (error) {
      return errnoOf(error);
    }
  }

  close(): void {
    closeSync(this.fd);
  }
}
