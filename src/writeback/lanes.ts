/**
 * Keeps an image's buffered home writes, and what else dirties the file's pages, apart from its direct writes.
 *
 *   1. a direct write of block 8 begins: the kernel has dropped the pages under it   2. a buffered write of odd bytes in block 9
 *   dirties a large folio that reaches over both   3. the direct write ends, the kernel cannot drop that folio, and marks the
 *   file: the next fsync gives EIO, although nothing is wrong
 */
export class Lanes {
  private direct = 0;
  private buffered = 0;
  private waiting: (() => void)[] = [];

  /** True if the write may begin: it is counted until `leave`. Else `again` waits, and a later `leave` gives it back. */
  enter(again: () => void, direct: boolean): boolean {
    const others = direct ? this.buffered : this.direct;
    if (others > 0 || this.waiting.length > 0) {
      this.waiting.push(again); // behind those that wait already: neither kind starves the other
      return false;
    }
    if (direct) this.direct++;
    else this.buffered++;
    return true;
  }

  /** A write ended. Those that must now try to enter again, in order. */
  leave(direct: boolean): readonly (() => void)[] {
    if (direct) this.direct--;
    else this.buffered--;
    if (this.direct + this.buffered > 0 || this.waiting.length === 0) return NOBODY;
    const { waiting } = this;
    this.waiting = [];
    return waiting;
  }
}

const NOBODY: readonly (() => void)[] = [];
