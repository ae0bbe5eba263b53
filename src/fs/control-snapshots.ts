/**
 * What readers of the control files are in the middle of. A read from offset 0 makes a new snapshot, so a descriptor that
 * is kept open and read again shows news; reads behind it continue the same one, so nobody sees half of two.
 */
import { E } from "../base/errno.ts";

/** Snapshots kept; the oldest goes first. Each is a document of a few KiB, images.json some hundred bytes an image. */
export const SNAPSHOTS_MAX = 64;

export class Snapshots {
  /** By file handle, oldest first. */
  private readonly held = new Map<number, Buffer>();

  /**
   * The bytes from `offset` of handle `fh`, made by `render` if it is 0. -ESTALE when the snapshot is gone, by age or with
   * an engine that died: reading on in another one would mix two documents.
   */
  read(fh: number, offset: number, render: () => string): Buffer | number {
    if (offset === 0) this.hold(fh, Buffer.from(render()));
    return this.held.get(fh)?.subarray(offset) ?? -E.ESTALE;
  }

  release(fh: number): void {
    this.held.delete(fh);
  }

  private hold(fh: number, content: Buffer): void {
    this.held.delete(fh);
    this.held.set(fh, content);
    if (this.held.size <= SNAPSHOTS_MAX) return;
    for (const oldest of this.held.keys()) {
      this.held.delete(oldest);
      return;
    }
  }
}
