/**
 * What may be on the disk after a cut. A flush promises the steps before it; what was done after it may be there or not, sector
 * by sector, but nothing else may: nothing older, nothing torn within a sector, nothing of another image or place.
 */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Notes, Step } from "./notes.ts";
import { readStamp, SECTOR_BYTES } from "./stamp.ts";

/** The worst are enough: one lost flush shows in many sectors. */
const FINDINGS_MAX = 10;

/** Everything wrong in `directory`, which was cut when `position` log entries had been flushed. */
export function findWrong(notes: Notes, directory: string, position: number): string[] {
  const wrong: string[] = [];
  const found = new Set<number>();
  const promised = notes.promisedNames(position);
  for (const [name, namings] of notes.names) {
    const last = namings.findLast(({ number }) => number <= promised);
    const images = [last?.image ?? 0, ...namings.filter(({ number }) => number > promised).map(({ image }) => image)];
    wrong.push(...wrongUnderName(notes, directory, name, images, position, found));
  }
  for (const image of lostImages(notes, promised, found)) wrong.push(`image ${image} is under none of its names`);
  return wrong.slice(0, FINDINGS_MAX);
}

/** `images`: those that `name` may mean, 0 for none. What it does mean is added to `found`. */
function wrongUnderName(
  notes: Notes,
  directory: string,
  name: string,
  images: readonly number[],
  position: number,
  found: Set<number>,
): string[] {
  const path = join(directory, name);
  if (statSync(path, { throwIfNoEntry: false }) === undefined) {
    return images.includes(0) ? [] : [`${name}: missing; image ${images.join(" or ")} was promised`];
  }
  const content = readFileSync(path);
  const verdicts = images
    .filter((image) => image !== 0)
    .map((image) => ({ image, wrong: wrongContent(content, image, notes, position) }));
  const right = verdicts.filter(({ wrong }) => wrong.length === 0);
  for (const { image } of right) found.add(image); // an empty file can be any of which nothing was promised
  if (right.length > 0) return [];
  const [first] = verdicts;
  return first === undefined
    ? [`${name}: there, although its end was promised`]
    : first.wrong.map((w) => `${name}: ${w}`);
}

/** Images whose name was promised, and that no later step can have taken away. */
function lostImages(notes: Notes, promised: number, found: ReadonlySet<number>): number[] {
  const namings = [...notes.names.values()].flat();
  const images = new Set(namings.map(({ image }) => image));
  images.delete(0);
  return [...images].filter((image) => {
    const own = namings.filter((naming) => naming.image === image);
    const made = own[0]!.number;
    const mayBeGone = own.some(({ name, number }) => {
      const next = notes.names.get(name)!.find((naming) => naming.number > number);
      if (next === undefined) return false;
      // Renamed away by the same step that gave it another name: not gone.
      return next.image !== 0 || !own.some((naming) => naming.number === next.number);
    });
    return made <= promised && !mayBeGone && !found.has(image);
  });
}

function wrongContent(content: Buffer, image: number, notes: Notes, position: number): string[] {
  const expected = new Expected(notes.steps.get(image) ?? [], notes.promised(image, position));
  const size = content.length / SECTOR_BYTES;
  const wrong: string[] = [];
  if (size < expected.sizeMin || size > expected.sizeMax) {
    wrong.push(
      `has ${size} sectors: ${expected.sizeMin} to ${expected.sizeMax} may be (promised: ${expected.promised})`,
    );
  }
  for (let sector = 0; sector < Math.max(size, expected.sizeMin) && wrong.length < FINDINGS_MAX; sector++) {
    const bytes = content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
    const stamp = bytes.length < SECTOR_BYTES ? "no whole sector" : readStamp(bytes, image, sector);
    if (typeof stamp === "number" && expected.allows(sector, stamp)) continue;
    const what = typeof stamp === "number" ? `write ${stamp}` : stamp;
    wrong.push(`sector ${sector}: ${what}; ${expected.describe(sector)} (promised: ${expected.promised})`);
  }
  return wrong;
}

/** What an image may hold when its steps up to `promised` are sure and later ones may have happened, each in part. */
class Expected {
  readonly promised: number;
  sizeMin = 0;
  sizeMax = 0;
  private size = 0;
  /** The number of the last promised write of each sector. */
  private readonly sure: number[] = [];
  private readonly maybe = new Map<number, Set<number>>();

  constructor(steps: readonly Step[], promised: number) {
    this.promised = promised;
    for (const step of steps.filter(({ number }) => number <= promised)) this.take(step, (s, n) => (this.sure[s] = n));
    this.sizeMin = this.size;
    this.sizeMax = this.size;
    for (const step of steps.filter(({ number }) => number > promised)) this.take(step, (s, n) => this.add(s, n));
  }

  private add(sector: number, number: number): void {
    const known = this.maybe.get(sector);
    if (known === undefined) this.maybe.set(sector, new Set([number]));
    else known.add(number);
  }

  private take({ kind, number, first, count }: Step, put: (sector: number, number: number) => void): void {
    const end = kind === "T" ? Math.max(this.sure.length, this.sizeMax) : first + count;
    for (let sector = first; sector < end; sector++) put(sector, kind === "W" ? number : 0);
    if (kind === "T") this.size = first;
    else if (kind === "W") this.size = Math.max(this.size, end);
    this.sizeMin = Math.min(this.sizeMin, this.size);
    this.sizeMax = Math.max(this.sizeMax, this.size);
  }

  allows(sector: number, stamp: number): boolean {
    return stamp === (this.sure[sector] ?? 0) || this.maybe.get(sector)?.has(stamp) === true;
  }

  describe(sector: number): string {
    const later = [...(this.maybe.get(sector) ?? [])].join(", ");
    return `write ${this.sure[sector] ?? 0} was promised${later === "" ? "" : `, later ${later}`}`;
  }
}
