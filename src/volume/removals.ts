/**
 * Makes the removal of files durable. What the journal has of a file is kept until then: 1. block 7 is flushed, into the journal
 * 2. the file is removed  3. the power is cut, and the filesystem has the file as it was before.
 */
import type { Io } from "../sys/io.ts";

type Done = (result: number) => void;

export class Removals {
  private readonly io: Io;
  private readonly fd: number;
  private waiting: Done[] = [];
  private isFlushing = false;

  /** `fd`: of any directory of the filesystem. */
  constructor(io: Io, fd: number) {
    this.io = io;
    this.fd = fd;
  }

  /** `done` gets 0 when all files that were moved before are so on stable media, or a negated error number. */
  flush(done: Done): void {
    this.waiting.push(done);
    if (!this.isFlushing) this.begin();
  }

  private begin(): void {
    const group = this.waiting.splice(0);
    this.isFlushing = true;
    // Of the filesystem: a name may be lost by an operation that the directory of removed files has no part in.
    this.io.syncfs(this.fd, (result) => {
      this.isFlushing = false;
      if (this.waiting.length > 0) this.begin();
      for (const done of group) done(result);
    });
  }
}
