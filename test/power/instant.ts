/**
 * Which single instant of the past a set of images shows, all of them together, sector by sector.
 *
 * Steps on the images in `lockstep` come one after the other, in the order of their numbers: at an instant, all steps up to some
 * number are there and no later one, not even in part. Steps on the images `beside` them overlap with those: at an instant what
 * was answered is there, what was not yet issued is not, and what was under way may be. No two of them overlap in one sector.
 */
import type { Answers } from "./answers.ts";
import type { Notes, Step } from "./notes.ts";
import { readStamp, SECTOR_BYTES } from "./stamp.ts";

/** Enough to see what kind of mixture it is. */
const FINDINGS_MAX = 6;

export interface History {
  notes: Notes;
  answers: Answers;
  /** Image numbers, and the size in sectors that each has at first. */
  lockstep: readonly number[];
  beside: readonly number[];
  sectors: number;
}

export interface Instant {
  /** The last lock step that can be said to be there; -1 if there is no such instant. */
  step: number;
  /** Why there is none, or what bytes are of no write at all. Empty when all is well. */
  wrong: string[];
}

/** `contents`: of each image, by its number. */
export function instantOf(history: History, contents: ReadonlyMap<number, Buffer>): Instant {
  const numbers = [0, ...lockSteps(history)];
  const shown = history.lockstep.map((image) => new Shown(history, image, contents.get(image)!, numbers));
  const span = spanBeside(history, contents);
  const wrong = [...shown.flatMap((image) => image.wrong), ...span.wrong].slice(0, FINDINGS_MAX);
  if (wrong.length > 0) return { step: -1, wrong };
  const common = numbers.map((_, i) => i).filter((i) => shown.every((image) => image.fits(i)));
  if (common.length === 0) return { step: -1, wrong: describeMixture(shown, numbers) };
  // Between issuing step i and the answer to step i + 1, all steps that were issued meanwhile may be under way.
  const last = common.findLast((i) => {
    const next = numbers[i + 1];
    const issued = next === undefined ? Number.POSITIVE_INFINITY : history.answers.issuedBy(next);
    return Math.max(numbers[i]!, span.from) <= Math.min(issued, span.to);
  });
  if (last !== undefined) return { step: numbers[last]!, wrong: [] };
  const steps = `step ${numbers[common[0]!]} to ${numbers[common.at(-1)!]}`;
  return { step: -1, wrong: [`in lock step, ${steps} is shown; beside it, ${span.from} to ${span.to}`] };
}

/** In their order. */
export const lockSteps = ({ notes, lockstep }: History): number[] =>
  lockstep.flatMap((image) => (notes.steps.get(image) ?? []).map(({ number }) => number)).sort((a, b) => a - b);

function describeMixture(shown: readonly Shown[], numbers: readonly number[]): string[] {
  const alone = shown.map(({ image, first, last }) =>
    first === undefined
      ? `image ${image} is at no instant`
      : `image ${image} is after step ${numbers[first]} to ${numbers[last!]}`,
  );
  const fitting = numbers.map((_, i) => shown.reduce((sum, image) => sum + image.fitting(i), 0));
  const best = fitting.indexOf(Math.max(...fitting));
  const misfits = shown.flatMap((image) => image.misfits(best)).slice(0, FINDINGS_MAX);
  return [`no common instant: ${alone.join(", ")}; nearest is step ${numbers[best]}, but for`, ...misfits];
}

/** A value, and from which lock step (by its place in their order) it holds. */
type Change = [from: number, value: number];

/** The changes of a sector within a hole that no write has come to. */
const NEVER_WRITTEN: readonly Change[] = [[0, 0]];

/** An image in lock step, and at how many of its sectors each state fits. */
class Shown {
  readonly image: number;
  readonly wrong: string[] = [];
  private readonly changes: Change[][];
  private readonly found: number[] = [];
  private readonly sizes: Change[];
  private readonly size: number;
  /** For each state, the things that fit; summed up from where each begins and ends to fit. */
  private readonly fit: Int32Array;

  constructor({ notes, sectors }: History, image: number, content: Buffer, numbers: readonly number[]) {
    this.image = image;
    this.size = content.length / SECTOR_BYTES;
    this.sizes = [[0, sectors]];
    this.changes = changesOf(notes.steps.get(image) ?? [], numbers, sectors, this.sizes);
    this.fit = new Int32Array(numbers.length + 1);
    this.count(this.sizes, this.size);
    for (let sector = 0; sector < this.size; sector++) {
      const stamp = readStamp(sectorOf(content, sector), image, sector);
      if (typeof stamp === "string") this.wrong.push(`image ${image}, sector ${sector}: ${stamp}`);
      else this.count(this.changes[sector] ?? NEVER_WRITTEN, (this.found[sector] = stamp));
    }
    for (let i = 1; i < this.fit.length; i++) this.fit[i]! += this.fit[i - 1]!;
  }

  private count(changes: readonly Change[], value: number): void {
    for (const [i, [from, held]] of changes.entries()) {
      if (held !== value) continue;
      this.fit[from]!++;
      this.fit[changes[i + 1]?.[0] ?? this.fit.length - 1]!--;
    }
  }

  fitting(state: number): number {
    return this.fit[state]!;
  }

  /** All sectors and the size are as in that state. */
  fits(state: number): boolean {
    return this.fit[state] === this.size + 1;
  }

  get first(): number | undefined {
    return this.states()[0];
  }

  get last(): number | undefined {
    return this.states().at(-1);
  }

  private states(): number[] {
    return [...this.fit.keys()].slice(0, -1).filter((state) => this.fits(state));
  }

  misfits(state: number): string[] {
    const size = valueAt(this.sizes, state);
    const wrong = size === this.size ? [] : [`image ${this.image}: ${this.size} sectors, not ${size}`];
    for (let sector = 0; sector < this.size && wrong.length < FINDINGS_MAX; sector++) {
      const wanted = valueAt(this.changes[sector] ?? NEVER_WRITTEN, state);
      if (this.found[sector] === wanted) continue;
      wrong.push(`image ${this.image}, sector ${sector}: step ${this.found[sector]}, not ${wanted}`);
    }
    return wrong;
  }
}

const valueAt = (changes: readonly Change[], state: number): number => changes.findLast(([from]) => from <= state)![1];

/** The changes of each sector, and, added to `sizes`, of the size. */
function changesOf(steps: readonly Step[], numbers: readonly number[], sectors: number, sizes: Change[]): Change[][] {
  const places = new Map(numbers.map((number, i) => [number, i]));
  const changes: Change[][] = Array.from({ length: sectors }, () => [[0, 0]]);
  for (const { kind, number, first, count } of steps) {
    const at = places.get(number)!;
    const size = sizes.at(-1)![1];
    const end = kind === "T" ? changes.length : first + count;
    for (let sector = first; sector < end; sector++)
      (changes[sector] ??= [[0, 0]]).push([at, kind === "W" ? number : 0]);
    if (kind === "T") sizes.push([at, first]);
    else if (kind === "W" && end > size) sizes.push([at, end]);
  }
  return changes;
}

/** From the last step that images beside show, to the last that had been issued when the first that they lack was answered. */
function spanBeside(
  { notes, answers, beside, sectors }: History,
  contents: ReadonlyMap<number, Buffer>,
): { from: number; to: number; wrong: string[] } {
  const span = { from: 0, to: Number.POSITIVE_INFINITY, wrong: [] as string[] };
  for (const image of beside) {
    const writes: number[][] = Array.from({ length: sectors }, () => []);
    for (const { number, first, count } of notes.steps.get(image) ?? [])
      for (let sector = first; sector < first + count; sector++) writes[sector]!.push(number);
    for (let sector = 0; sector < sectors; sector++) {
      const stamp = readStamp(sectorOf(contents.get(image)!, sector), image, sector);
      const at = typeof stamp === "number" && stamp > 0 ? writes[sector]!.indexOf(stamp) : -1;
      if (stamp !== 0 && at < 0) span.wrong.push(`image ${image}, sector ${sector}: ${stamp}, which was never written`);
      const next = writes[sector]![at + 1];
      if (at >= 0) span.from = Math.max(span.from, writes[sector]![at]!);
      if (next !== undefined) span.to = Math.min(span.to, answers.issuedBy(next));
    }
  }
  if (span.from > span.to)
    span.wrong.push(`beside: step ${span.from} is shown; an older one, answered by ${span.to}, is not`);
  return span;
}

const sectorOf = (content: Buffer, sector: number): Buffer =>
  content.subarray(sector * SECTOR_BYTES, (sector + 1) * SECTOR_BYTES);
