/**
 * A rotating disk as arithmetic: exact device time of a sequence of writes, no clock involved. 7200 rpm and 150 MB/s, so a track holds
 * 1.25 MB; eight tracks are a cylinder. The drive takes one write at a time, in the order given, and keeps none back.
 */

/** One write to the device, bytes. A recorded sequence of a real engine is a list of these. */
export interface DeviceWrite {
  offset: number;
  length: number;
}

const TURN_MS = 60_000 / 7200;
const BYTES_PER_MS = 150_000;
const TRACK_BYTES = BYTES_PER_MS * TURN_MS;
const CYLINDER_BYTES = 8 * TRACK_BYTES;

/** Moving the arm over `cylinders`; within a cylinder it need not move. */
const seekMs = (cylinders: number): number => (cylinders === 0 ? 0 : 0.469 + 0.0311 * Math.sqrt(cylinders));
const cylinderOf = (offset: number): number => Math.floor(offset / CYLINDER_BYTES);
/** The time in a turn at which the byte at `offset` passes beneath the head. */
const angleMs = (offset: number): number => (offset % TRACK_BYTES) / BYTES_PER_MS;

export class RotatingDisk {
  /** Milliseconds that all writes so far took. */
  ms = 0;
  /** Where the last write ended. */
  head = 0;

  /** A write that begins exactly where the last one ended streams on; any other waits for the arm, then for the platter. */
  write({ offset, length }: DeviceWrite): void {
    if (offset !== this.head) {
      this.ms += seekMs(Math.abs(cylinderOf(offset) - cylinderOf(this.head)));
      this.ms += (angleMs(offset) - (this.ms % TURN_MS) + TURN_MS) % TURN_MS;
    }
    this.ms += length / BYTES_PER_MS;
    this.head = offset + length;
  }

  writeAll(writes: Iterable<DeviceWrite>): void {
    for (const write of writes) this.write(write);
  }
}

/** `writes` of whole blocks as one pass upwards from `head` and then from the start: rewrites collapse, neighbours join. */
export function elevatorOrder(writes: readonly DeviceWrite[], head: number): DeviceWrite[] {
  const lengths = new Map(writes.map(({ offset, length }) => [offset, length]));
  const sorted = [...lengths.keys()].toSorted((a, b) => a - b);
  const order = [...sorted.filter((offset) => offset >= head), ...sorted.filter((offset) => offset < head)];
  const runs: DeviceWrite[] = [];
  for (const offset of order) {
    const last = runs.at(-1);
    const length = lengths.get(offset)!;
    if (last !== undefined && last.offset + last.length === offset) last.length += length;
    else runs.push({ offset, length });
  }
  return runs;
}
