/**
 * What a workload did, as it notes it in a side file: each step before it is taken, each promise after it was given. Steps have
 * numbers, from 1 up. Positions count the log's entries that were flushed by then. Sizes and places are in sectors.
 *
 *   W number image first count     write            C number image name        create
 *   Z number image first count     punch a hole     R number image from to     rename, perhaps over another
 *   T number image size            truncate         U number image name        unlink
 *   F position image number        the image was flushed: its steps up to `number` are promised
 *   D position number              the directory was flushed: names as of step `number` are promised
 *   B position                     cuts are to come after these entries
 *
 * Lines of other kinds are for others (`answers.ts`). An image that was there before has a `C` of number 0.
 */
import { readFileSync } from "node:fs";

/** A step that changes an image's content. */
export interface Step {
  kind: "W" | "Z" | "T";
  number: number;
  /** Of a truncate: the new size. */
  first: number;
  count: number;
}

/** From step `number` on, `name` means `image`; 0: nothing. */
export interface Naming {
  number: number;
  name: string;
  image: number;
}

interface Promised {
  position: number;
  image: number;
  number: number;
}

export class Notes {
  /** Entries that are in the log before any cut. */
  begin = 0;
  readonly steps = new Map<number, Step[]>();
  readonly names = new Map<string, Naming[]>();
  private readonly flushes: Promised[] = [];
  private readonly directoryFlushes: Promised[] = [];

  /** Reads what was noted; of promises, those in the first `sure` characters. */
  static read(path: string, sure = Number.POSITIVE_INFINITY): Notes {
    const notes = new Notes();
    let at = 0;
    // A line that a kill cut short tells nothing.
    for (const line of readFileSync(path, "utf8").split("\n").slice(0, -1)) {
      at += line.length + 1;
      notes.take(line, at <= sure);
    }
    return notes;
  }

  private take(line: string, sure: boolean): void {
    const [kind, first, ...rest] = line.split(" ") as [string, string, ...string[]];
    if (!sure && (kind === "F" || kind === "D")) return;
    const [a, b, c] = rest as [string, string, string];
    const number = Number(first);
    if (kind === "W" || kind === "Z") this.addStep(Number(a), { kind, number, first: Number(b), count: Number(c) });
    else if (kind === "T") this.addStep(Number(a), { kind, number, first: Number(b), count: 0 });
    else if (kind === "F") this.flushes.push({ position: number, image: Number(a), number: Number(b) });
    else if (kind === "D") this.directoryFlushes.push({ position: number, image: 0, number: Number(a) });
    else if (kind === "B") this.begin = number;
    else if ("CRU".includes(kind)) this.takeName(kind, number, Number(a), b, c);
  }

  private takeName(kind: string, number: number, image: number, name: string, to: string): void {
    if (kind === "C") this.addName({ number, name, image });
    else this.addName({ number, name, image: 0 });
    if (kind === "R") this.addName({ number, name: to, image });
  }

  private addStep(image: number, step: Step): void {
    this.steps.set(image, [...(this.steps.get(image) ?? []), step]);
  }

  private addName(naming: Naming): void {
    this.names.set(naming.name, [...(this.names.get(naming.name) ?? []), naming]);
  }

  /** The image that had `name` first. */
  imageNamed(name: string): number {
    const [first] = this.names.get(name) ?? [];
    if (first === undefined) throw new Error(`no image ${name} is in the notes`);
    return first.image;
  }

  /** Promises given, of both kinds. */
  get promises(): number {
    return this.flushes.length + this.directoryFlushes.length;
  }

  /** The last step of `image` that was promised when `position` entries had been flushed; 0: none. */
  promised(image: number, position: number): number {
    return lastOf(this.flushes, (flush) => flush.image === image && flush.position <= position);
  }

  /** The same for names. */
  promisedNames(position: number): number {
    return lastOf(this.directoryFlushes, (flush) => flush.position <= position);
  }
}

const lastOf = (promises: readonly Promised[], holds: (promise: Promised) => boolean): number =>
  promises.filter(holds).reduce((last, { number }) => Math.max(last, number), 0);
