/**
 * What the journal saves on a rotating disk: 4k random writes with a flush after every 32, by the model of
 * `support/rotating-disk.ts`. Exact, and the same on every machine.
 *
 *   in place   each write goes to its block when it comes, as with `--durability sync` and no journal
 *   journal    each flush is one append: a header and the blocks since the last flush; when the ring is full, everything goes home
 *              in one pass of the elevator
 *
 * The device writes of both are lists, so that those of a real engine can take the place of the assumed ones.
 */
import { type DeviceWrite, elevatorOrder, RotatingDisk } from "./support/rotating-disk.ts";
import { figure, renderTable } from "./support/table.ts";

const BLOCK_BYTES = 4096;
const GiB = 2 ** 30;
const WRITES_PER_FLUSH = 32;
/** The ring lies before the image, as a file made first does. */
const JOURNAL_BYTES = GiB;
const IMAGE_AT = 2 * GiB;
const IMAGE_GIB = [4, 16, 64] as const;

export const WANTED_GAIN = 8;
/** The size of image for which that is asked: a guest's whole system disk under the default journal. */
export const WANTED_IMAGE_GIB = 16;

/** Numbers below `limit` from a seed (a linear congruential generator, high bits). */
function* seeded(seed: number, limit: number): Generator<number> {
  for (let state = BigInt(seed); ; ) {
    state = (state * 6364136223846793005n + 1442695040888963407n) & 0xffffffffffffffffn;
    yield Number((state >> 32n) % BigInt(limit));
  }
}

/** As many random writes of one block as fill the ring once, in order of arrival. */
export function randomWrites(imageBytes: number, seed: number): DeviceWrite[] {
  const flushes = Math.floor(JOURNAL_BYTES / ((WRITES_PER_FLUSH + 1) * BLOCK_BYTES));
  const blocks = seeded(seed, imageBytes / BLOCK_BYTES);
  return Array.from({ length: flushes * WRITES_PER_FLUSH }, () => {
    return { offset: IMAGE_AT + blocks.next().value! * BLOCK_BYTES, length: BLOCK_BYTES };
  });
}

/** One append a flush, at the ring's position. */
export function journalAppends(writes: readonly DeviceWrite[]): DeviceWrite[] {
  const length = (WRITES_PER_FLUSH + 1) * BLOCK_BYTES;
  return Array.from({ length: writes.length / WRITES_PER_FLUSH }, (_, flush) => ({ offset: flush * length, length }));
}

export interface Gain {
  imageGiB: number;
  writes: number;
  inPlaceMs: number;
  /** Until the last flush is answered, and until everything is home as well. */
  answeredMs: number;
  homeMs: number;
}

/** `toHome`: the writes that take everything home, from where the head is after the appends. */
export function gainOf(
  writes: readonly DeviceWrite[],
  appends: readonly DeviceWrite[],
  toHome: (head: number) => Iterable<DeviceWrite>,
): Pick<Gain, "inPlaceMs" | "answeredMs" | "homeMs"> {
  const [inPlace, journal] = [new RotatingDisk(), new RotatingDisk()];
  inPlace.writeAll(writes);
  journal.writeAll(appends);
  const answeredMs = journal.ms;
  journal.writeAll(toHome(journal.head));
  return { inPlaceMs: inPlace.ms, answeredMs, homeMs: journal.ms };
}

function gainWith(imageGiB: number, seed: number): Gain {
  const writes = randomWrites(imageGiB * GiB, seed);
  const gain = gainOf(writes, journalAppends(writes), (head) => elevatorOrder(writes, head));
  return { imageGiB, writes: writes.length, ...gain };
}

export const measureRotating = (seed: number): Gain[] => IMAGE_GIB.map((imageGiB) => gainWith(imageGiB, seed));

export function rotatingReport(gains: Gain[]): string {
  const rows = gains.map(({ imageGiB, writes, inPlaceMs, answeredMs, homeMs }) => [
    `image of ${imageGiB} GiB, ${writes} writes`,
    `${figure(inPlaceMs / 1000)} s`,
    `${figure(answeredMs / 1000)} s`,
    `${figure(homeMs / 1000)} s`,
    `${figure(inPlaceMs / answeredMs)} x`,
    `${figure(inPlaceMs / homeMs)} x`,
  ]);
  const header = ["", "in place", "flushes answered", "and all home", "gain, answered", "gain, home"];
  return (
    "4k randwrite with a flush every 32 on a rotating disk: device time by the model, one full ring of 1 GiB\n" +
    `${renderTable(header, rows)}  wanted: at least ${WANTED_GAIN} x with everything home, image of ${WANTED_IMAGE_GIB} GiB\n`
  );
}
