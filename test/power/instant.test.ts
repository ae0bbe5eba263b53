/** The judges of `ordered` themselves: on histories and images made here, they accept every true instant and refuse every mixture. */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { Random } from "../sim/random.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { Answers } from "./answers.ts";
import { type History, type Instant, instantOf } from "./instant.ts";
import { Notes } from "./notes.ts";
import { SECTOR_BYTES, stamped } from "./stamp.ts";

const SECTORS = 64;
const STEPS = 60;
const SEEDS = 5;
const A = 1;
const B = 2;
const BESIDE = 3;

/** A step and the lines of the notes before which it was issued and answered. */
interface Told {
  kind: "W" | "Z" | "T";
  number: number;
  image: number;
  first: number;
  count: number;
  issued: number;
  answered: number;
}

/** A run in which steps on A and B come in turns, and writes to BESIDE overlap with them. */
class Run {
  readonly lines: string[] = [];
  readonly told: Told[] = [];
  readonly history: History;
  private readonly random: Random;
  private under: Told | undefined;

  constructor(seed: number) {
    this.random = new Random(seed);
    for (let i = 0; i < STEPS; i++) this.turn(i % 2 === 0 ? A : B);
    this.answerBeside();
    const file = join(scratchDirectory("notes"), "notes");
    writeFileSync(file, `${this.lines.join("\n")}\n`);
    const read = { notes: Notes.read(file), answers: Answers.read(file) };
    this.history = { ...read, lockstep: [A, B], beside: [BESIDE], sectors: SECTORS };
  }

  private turn(image: number): void {
    const step = this.issue(image);
    if (this.random.chance(0.4)) this.answerBeside();
    if (this.under === undefined && this.random.chance(0.6)) this.under = this.issue(BESIDE);
    this.answer(step);
  }

  private issue(image: number): Told {
    const kind: Told["kind"] =
      image === BESIDE || this.random.chance(0.8) ? "W" : this.random.pick(["Z", "T"] as const);
    const number = this.told.length + 1;
    const first = this.random.below(SECTORS - 8);
    const count = kind === "T" ? 0 : this.random.between(2, 8);
    this.lines.push(`${kind} ${number} ${image} ${first} ${count}`);
    const step: Told = {
      kind,
      number,
      image,
      first,
      count,
      issued: this.lines.length,
      answered: Number.POSITIVE_INFINITY,
    };
    this.told.push(step);
    return step;
  }

  private answer(step: Told): void {
    this.lines.push(`A ${step.number} 0 ${this.told.length} ${this.lines.length}`);
    step.answered = this.lines.length;
  }

  private answerBeside(): void {
    if (this.under !== undefined) this.answer(this.under);
    this.under = undefined;
  }

  /** The images when so many lines were noted; `under`: with what was under way. */
  at(lines: number, under: boolean): Map<number, Buffer> {
    return this.images(({ issued, answered }) => (under ? issued : answered) <= lines);
  }

  images(isIn: (step: Told) => boolean): Map<number, Buffer> {
    const images = new Map<number, Buffer>(
      [A, B, BESIDE].map((image) => [image, Buffer.alloc(SECTORS * SECTOR_BYTES)]),
    );
    for (const step of this.told.filter(isIn)) images.set(step.image, applied(images.get(step.image)!, step));
    return images;
  }
}

function applied(content: Buffer, { kind, number, image, first, count }: Told): Buffer {
  const [from, end] = [first * SECTOR_BYTES, (first + count) * SECTOR_BYTES];
  if (kind === "T") return Buffer.concat([content.subarray(0, from), Buffer.alloc(Math.max(0, from - content.length))]);
  if (kind === "Z") return Buffer.from(content).fill(0, from, Math.min(end, content.length));
  const grown = Buffer.concat([content, Buffer.alloc(Math.max(0, end - content.length))]);
  stamped(image, number, first, count).copy(grown, from);
  return grown;
}

/** A run, a line in its middle, and its steps in turns that were answered before and after. */
function middleOf(seed: number): { run: Run; line: number; before: Told[]; after: Told[] } {
  const run = new Run(seed);
  const line = run.lines.length >> 1;
  const turns = run.told.filter(({ image }) => image !== BESIDE);
  return {
    run,
    line,
    before: turns.filter(({ answered }) => answered <= line),
    after: turns.filter(({ answered }) => answered > line),
  };
}

const seeds = Array.from({ length: SEEDS }, (_, i) => i + 1);

test.for(seeds)("every instant of run %i is known, with and without what was under way", (seed) => {
  const run = new Run(seed);
  for (let lines = 0; lines <= run.lines.length; lines++) {
    for (const under of [false, true]) {
      const { step, wrong } = instantOf(run.history, run.at(lines, under));
      expect(wrong).toEqual([]);
      const turns = run.told.filter((t) => t.image !== BESIDE && (under ? t.issued : t.answered) <= lines);
      // A hole punched into a hole shows nothing: the latest instant that looks so is meant.
      expect(step).toBeGreaterThanOrEqual(turns.at(-1)?.number ?? 0);
      const shown = run.images(({ image, number }) => image !== BESIDE && number <= step);
      const wanted = run.at(lines, under);
      expect([A, B].every((image) => shown.get(image)!.equals(wanted.get(image)!))).toBe(true);
    }
  }
});

/** `isIn`, but for the last of `candidates` that shows when it is missing. */
function without(run: Run, isIn: (step: Told) => boolean, candidates: readonly Told[]): Map<number, Buffer> {
  const whole = run.images(isIn);
  const mixtures = candidates.toReversed().map((lost) => run.images((step) => isIn(step) && step !== lost));
  return mixtures.find((images) => [...images].some(([image, content]) => !content.equals(whole.get(image)!)))!;
}

/** Mixtures, each made in the middle of a run; what is said of it. */
const MIXTURES: Record<string, { make: (seed: number) => [Run, Map<number, Buffer>]; said: RegExp }> = {
  "one image two turns ahead of the other": {
    make: (seed) => {
      const { run, line, before, after } = middleOf(seed);
      const ahead = after.filter(({ image, kind }) => image !== before.at(-1)!.image && kind === "W")[1]!;
      return [run, run.images((s) => (s.image === ahead.image ? s.number <= ahead.number : s.answered <= line))];
    },
    said: /no common instant/,
  },
  "a write that is not there, between others that are": {
    make: (seed) => {
      const { run, line, before } = middleOf(seed);
      const candidates = before.filter(({ kind }) => kind === "W").slice(0, -3);
      return [run, without(run, (s) => s.answered <= line, candidates)];
    },
    said: /no common instant|is at no instant/,
  },
  "a step of which one sector is there": {
    make: (seed) => {
      const { run, line, after } = middleOf(seed);
      const torn = after.find(({ kind }) => kind === "W")!;
      const isIn = (s: Told): boolean => s.answered <= line || s.number < torn.number;
      const images = run.images(isIn);
      return [run, images.set(torn.image, applied(images.get(torn.image)!, { ...torn, count: 1 }))];
    },
    said: /no common instant/,
  },
  "a size of another instant": {
    make: (seed) => {
      const { run, line } = middleOf(seed);
      const images = run.at(line, false);
      return [run, images.set(A, Buffer.concat([images.get(A)!, Buffer.alloc(SECTOR_BYTES)]))];
    },
    said: /no common instant|never/,
  },
  "bytes of no write": {
    make: (seed) => {
      const { run, line } = middleOf(seed);
      const images = run.at(line, false);
      images.get(B)![17]! ^= 1;
      images.get(B)![16]! ^= 2;
      return [run, images];
    },
    said: /bytes of no write/,
  },
  "an old write beside, and a new instant": {
    make: (seed) => {
      const { run, line } = middleOf(seed);
      const candidates = run.told.filter(({ image, answered }) => image === BESIDE && answered <= line);
      return [run, without(run, () => true, candidates)];
    },
    said: /beside/,
  },
  "a new write beside, and an old instant": {
    make: (seed) => {
      const { run, line } = middleOf(seed);
      return [run, run.images((s) => s.answered <= line || s.image === BESIDE)];
    },
    said: /in lock step/,
  },
};

test.for(Object.entries(MIXTURES))("a mixture is refused: %s", ([, { make, said }]) => {
  for (const seed of seeds) {
    const [run, images] = make(seed);
    const found: Instant = instantOf(run.history, images);
    expect(found).toMatchObject({ step: -1 });
    expect(found.wrong.join("; ")).toMatch(said);
  }
});

const any = (): boolean => true;

test("what may be lost ends with the window before the next flush; what was answered before a flush is there", () => {
  // A step every 100 ms; flushes that are seen between steps 9 and 10, and between 30 and 31.
  const steps = Array.from(
    { length: 40 },
    (_, i) => `A ${i + 1} ${i < 9 ? 0 : i < 30 ? 5 : 8} ${i + 1} ${(i + 1) * 100}`,
  );
  const answers = Answers.parse([...steps, "P 5 990", "P 8 3050", ""].join("\n"));
  expect(answers.answeredAt(4, any)).toBe(9);
  expect(answers.answeredAt(5, any)).toBe(30);
  expect(answers.keptBy(5, 500, any)).toBe(15); // cut at 3050: older than 1500 ms
  expect(answers.keptBy(8, 500, any)).toBe(24); // never flushed again: cut at the end, 4000
  expect(answers.keptBy(0, 500, any)).toBe(0);
  expect(answers.ageAt(5, 20, any)).toBe(950);
  expect(answers.ageAt(8, 40, any)).toBe(0);
});

test("time without an engine does not count as age", () => {
  const lines = ["A 1 0 1 100", "A 2 0 2 1990", "K 2000", "A 3 0 3 2001", "A 4 0 4 4500", "A 5 0 5 5000", "P 3 5000"];
  const kept = (more: string[]): number => Answers.parse([...more, ""].join("\n")).keptBy(0, 500, any);
  expect(kept(lines)).toBe(1); // cut at 5000, 2500 ms of which had no engine: from 1000 on
  expect(kept(lines.filter((line) => !line.startsWith("K")))).toBe(3);
});
