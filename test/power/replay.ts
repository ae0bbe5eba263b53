/**
 * States of a device after a cut, made from its log. All entries up to a flush are on it, and of the writes after that flush any:
 *
 *   prefix   all that came before the cut
 *   subset   some of them
 *   torn     some 4096-byte pieces of some of them (less would break filesystems whose sectors are that long)
 *
 * A state is named by its number: the same number, seed and log make the same state.
 */
import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { Random } from "../sim/random.ts";
import type { Entry } from "./log.ts";
import type { Recording } from "./recording.ts";
import { copySparse } from "./rig.ts";

const TEAR_BYTES = 4096;
const KINDS = ["prefix", "subset", "torn"] as const;

export interface State {
  number: number;
  kind: (typeof KINDS)[number];
  /** Entries before the cut. */
  cut: number;
  /** Entries up to the last flush before the cut, that flush included: these are all there. */
  flushed: number;
  /** Shares of the later writes, and of their pieces, that are there. */
  share: number;
}

const randomOf = (seed: number, number: number): Random => new Random(seed * 2 ** 32 + number);

/** State `number` of `seed`, with at least `begin` entries. Half of the cuts come right before a flush, where the most is at stake. */
export function stateOf(entries: readonly Entry[], seed: number, number: number, begin: number): State {
  const random = randomOf(seed, number);
  let cut = random.between(Math.max(1, begin), entries.length);
  if (random.chance(0.5)) while (cut < entries.length && entries[cut]!.kind !== "flush") cut++;
  let flushed = cut;
  while (flushed > 0 && entries[flushed - 1]!.kind !== "flush") flushed--;
  return { number, kind: KINDS[number % KINDS.length]!, cut, flushed, share: random.pick([0.1, 0.5, 0.9]) };
}

export class Replayer {
  private readonly recording: Recording;
  private readonly seed: number;
  private readonly log: number;
  private readonly rolling: string;
  private readonly place: string;
  /** Entries that the rolling image has. */
  private reached = Number.POSITIVE_INFINITY;

  /** Files go into `place`. */
  constructor(recording: Recording, seed: number, place: string) {
    this.recording = recording;
    this.seed = seed;
    this.log = openSync(recording.log, "r");
    this.rolling = join(place, "rolling");
    this.place = place;
  }

  /** The device in `state`, as a new file. Fastest when states come in the order of `flushed`. */
  async build(state: State): Promise<string> {
    const { entries, base } = this.recording;
    if (state.flushed < this.reached) {
      await copySparse(base, this.rolling);
      this.reached = 0;
    }
    this.apply(this.rolling, entries.slice(this.reached, state.flushed));
    this.reached = state.flushed;
    const file = join(this.place, `state${state.number}`);
    await copySparse(this.rolling, file);
    this.apply(file, this.survivors(state));
    return file;
  }

  close(): void {
    closeSync(this.log);
  }

  /** The writes after the last flush that are there, in pieces when they are torn. */
  private survivors({ number, kind, cut, flushed, share }: State): Entry[] {
    const after = this.recording.entries.slice(flushed, cut);
    if (kind === "prefix") return after;
    const random = randomOf(~this.seed, number);
    const pieces = kind === "torn" ? after.flatMap(torn) : after;
    return pieces.filter(() => random.chance(share));
  }

  private apply(path: string, entries: readonly Entry[]): void {
    const fd = openSync(path, "r+");
    for (const entry of entries) {
      if (entry.kind === "flush" || entry.length === 0) continue;
      const bytes = Buffer.alloc(entry.length);
      if (entry.kind === "write") readSync(this.log, bytes, 0, entry.length, entry.data);
      writeSync(fd, bytes, 0, entry.length, entry.offset);
    }
    closeSync(fd);
  }
}

/** Pieces that each lie in one TEAR_BYTES of the device. */
function torn(entry: Entry): Entry[] {
  const pieces: Entry[] = [];
  const end = entry.offset + entry.length;
  for (let at = entry.offset; at < end; ) {
    const next = Math.min(end, (Math.floor(at / TEAR_BYTES) + 1) * TEAR_BYTES);
    pieces.push({ ...entry, offset: at, length: next - at, data: entry.data + at - entry.offset });
    at = next;
  }
  return pieces;
}
