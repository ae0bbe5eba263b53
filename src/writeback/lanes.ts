/**
 * Keeps an image's buffered home writes apart from its direct ones.
 *
 *   1. a direct write of block 8 begins: the kernel has dropped the pages under it   2. a buffered write of odd bytes in block 9
 *   dirties a large folio that reaches over both   3. the direct write ends, the kernel cannot drop that folio, and marks the
 *   file: the next fsync gives EIO, although nothing is wrong
 */
import type { Run } from "./run.ts";

export class Lanes {
  private direct = 0;
  private buffered = 0;
  private waiting: Run[] = [];

  /** True if the write may begin: it is counted until `leave`. Else `run` waits, and a later `leave` gives it back. */
  enter(run: Run, direct: boolean): boolean {
    const others = direct ? this.buffered : this.direct;
    if (others > 0 || this.waiting.length > 0) {
      this.waiting.push(run); // behind those that wait already: neither kind starves the other
      return false;
    }
    if (direct) this.direct++;
    else this.buffered++;
    return true;
  }

  /** A write ended. The runs that must now try to enter again, in order. */
  leave(direct: boolean): readonly Run[] {
    if (direct) this.direct--;
    else this.buffered--;
    if (this.direct + this.buffered > 0 || this.waiting.length === 0) return NOBODY;
    const { waiting } = this;
    this.waiting = [];
    return waiting;
  }
}

const NOBODY: readonly Run[] = [];
