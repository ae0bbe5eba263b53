/**
 * Random operations for one hand: what it is told, what it claims of a file while it runs, and what its answer must be. The
 * model changes when the answer is checked.
 */
import { E } from "../../src/base/errno.ts";
import { FALLOC, O, SEEK_DATA, SEEK_HOLE } from "../../src/sys/constants.ts";
import { type Answer, type Command, Op } from "./hand.ts";
import { difference, ModelFile } from "./model.ts";
import type { Seeded } from "./random.ts";

/** What an operation needs to have to itself among those that run at the same time. */
export interface Claim {
  /** Undefined: the names. */
  file: ModelFile | undefined;
  from: number;
  to: number;
  writes: boolean;
  /** Whether the outcome depends on the file's size, or changes it. */
  size: "free" | "uses" | "changes";
  /** The kernel's page cache is involved: claims whole pages. */
  mapped: boolean;
}

export interface Step {
  command: Command;
  claims: Claim[];
  /** Wrong answers are told in words. Changes the model. */
  check: (answer: Answer) => string | undefined;
}

export interface Handle {
  file: ModelFile;
  direct: boolean;
  append: boolean;
}

export interface World {
  random: Seeded;
  names: Map<string, ModelFile>;
  /** Files grow to this, bytes. */
  fileBytes: number;
  /** How often files are truncated: writes have 30. */
  truncates: number;
}

export const NAMES = ["a", "b", "c", "d/e", "d/f"];
const SLOTS = 4;
const EVERYTHING = Number.POSITIVE_INFINITY;
const HOT_BYTES = 128 * 1024;

const alone = (file: ModelFile): Claim => claim(file, 0, EVERYTHING, true, "changes");
const names: Claim = { file: undefined, from: 0, to: 1, writes: true, size: "free", mapped: false };

function claim(file: ModelFile, from: number, to: number, writes: boolean, size: Claim["size"], mapped = false): Claim {
  return { file, from, to, writes, size, mapped };
}

/** Exactly `wanted`, or what is wrong. */
const wants = (answer: Answer, wanted: number): string | undefined =>
  answer.result === wanted ? undefined : `result ${answer.result} instead of ${wanted}`;

/** One hand's open files, and what it may do next. */
export class Operations {
  private readonly handles: (Handle | undefined)[] = Array.from({ length: SLOTS }, () => undefined);
  private readonly world: World;
  private readonly table: readonly (readonly [weight: number, make: (slot: number, handle: Handle) => Step])[];

  constructor(world: World) {
    this.world = world;
    this.table = [
      [30, (slot, handle) => this.write(slot, handle)],
      [24, (slot, handle) => this.read(slot, handle)],
      [6, (slot, handle) => this.mapWrite(slot, handle)],
      [6, (slot, handle) => this.mapRead(slot, handle)],
      [world.truncates, (slot, handle) => this.truncate(slot, handle)],
      [9, (slot, handle) => this.fallocate(slot, handle)],
      [5, (slot) => this.copy(slot)],
      [3, (slot) => this.sync(slot)],
      [3, (slot, handle) => this.stat(slot, handle)],
      [3, (slot, handle) => this.seek(slot, handle)],
      [5, (slot) => this.open(slot)],
      [2, () => this.rename()],
      [1, () => this.unlink()],
      [1, () => this.link()],
    ];
  }

  next(): Step {
    const { random } = this.world;
    const slot = random.below(SLOTS);
    const handle = this.handles[slot];
    if (handle === undefined) return this.open(slot);
    let at = random.below(this.table.reduce((sum, [weight]) => sum + weight, 0));
    for (const [weight, make] of this.table) {
      at -= weight;
      if (at < 0) return make(slot, handle);
    }
    throw new Error("the weights have no gap");
  }

  /** Where and how much, for a handle; O_DIRECT ones mostly by sectors. */
  private range(handle: Handle): { offset: number; length: number } {
    const { random, fileBytes } = this.world;
    const { size } = handle.file;
    const near = Math.max(0, size - random.length(65536) + random.below(5000));
    const offset = [random.below(HOT_BYTES), random.below(HOT_BYTES), random.below(fileBytes), near][random.below(4)]!;
    const length = random.length(random.chance(0.03) ? 2 ** 21 : random.chance(0.5) ? 12_000 : 2 ** 18);
    if (random.chance(0.2)) return this.fitted(Math.floor(offset / 4096) * 4096, Math.ceil(length / 4096) * 4096);
    if (!handle.direct || random.chance(0.02)) return this.fitted(offset, length);
    return this.fitted(Math.floor(offset / 512) * 512, Math.ceil(length / 512) * 512);
  }

  private fitted(offset: number, length: number): { offset: number; length: number } {
    const start = Math.min(offset, this.world.fileBytes - 4096);
    return { offset: start, length: Math.min(length, this.world.fileBytes - start) };
  }

  private write(slot: number, handle: Handle): Step {
    const { file } = handle;
    const { offset, length } = this.range(handle);
    const seed = this.world.random.bits();
    const command: Command = { op: Op.write, slot, offset, length, seed };
    if (handle.append) return this.append(handle, command, length, seed);
    const refused = handle.direct && (offset % 512 !== 0 || length % 512 !== 0);
    const end = offset + length;
    return {
      command,
      claims: [claim(file, offset, end, true, end > file.size ? "changes" : "free")],
      check: (answer) => {
        if (refused) return wants(answer, -E.EINVAL);
        file.write(offset, length, seed);
        return wants(answer, length);
      },
    };
  }

  private append({ file, direct }: Handle, command: Command, wanted: number, seed: number): Step {
    const length = Math.min(wanted, Math.max(1, this.world.fileBytes - file.size));
    if (file.size + length > this.world.fileBytes)
      return { command: { op: Op.stat, slot: command.slot! }, claims: [], check: () => undefined };
    return {
      command: { ...command, length },
      claims: [alone(file)],
      check: (answer) => {
        if (direct && (file.size % 512 !== 0 || length % 512 !== 0)) return wants(answer, -E.EINVAL);
        file.write(file.size, length, seed);
        return wants(answer, length);
      },
    };
  }

  private read(slot: number, handle: Handle): Step {
    const { file } = handle;
    const { offset, length } = this.range(handle);
    const refused = handle.direct && (offset % 512 !== 0 || length % 512 !== 0);
    return {
      command: { op: Op.read, slot, offset, length },
      claims: [claim(file, offset, offset + length, false, offset + length > file.size ? "uses" : "free")],
      check: (answer) => {
        if (refused) return answer.result === -E.EINVAL || answer.result === 0 ? undefined : wants(answer, -E.EINVAL);
        const expected = file.read(offset, length);
        return wants(answer, expected.length) ?? difference(answer.data, expected, offset);
      },
    };
  }

  /** A range within the file, for mappings. */
  private within(file: ModelFile): { offset: number; length: number } | undefined {
    if (file.size === 0) return undefined;
    const { random } = this.world;
    const offset = random.below(random.chance(0.5) ? Math.min(file.size, HOT_BYTES) : file.size);
    return { offset, length: Math.min(random.length(100_000), file.size - offset) };
  }

  private mapWrite(slot: number, handle: Handle): Step {
    const { file } = handle;
    const range = this.within(file);
    if (range === undefined) return this.write(slot, handle);
    const { offset, length } = range;
    const seed = this.world.random.bits();
    return {
      command: { op: Op.mapWrite, slot, offset, length, seed, mode: this.world.random.below(2) },
      claims: [claim(file, offset, offset + length, true, "uses", true)],
      check: (answer) => {
        file.write(offset, length, seed);
        return wants(answer, 0);
      },
    };
  }

  private mapRead(slot: number, handle: Handle): Step {
    const { file } = handle;
    const range = this.within(file);
    if (range === undefined) return this.read(slot, handle);
    const { offset, length } = range;
    return {
      command: { op: Op.mapRead, slot, offset, length },
      claims: [claim(file, offset, offset + length, false, "uses", true)],
      check: (answer) => wants(answer, 0) ?? difference(answer.data, file.read(offset, length), offset),
    };
  }

  private truncate(slot: number, { file }: Handle): Step {
    const { random, fileBytes } = this.world;
    const length = [random.below(fileBytes), random.below(HOT_BYTES), file.size + random.below(9000), file.size][
      random.below(4)
    ]!;
    const size = Math.min(length, fileBytes);
    return {
      command: { op: Op.truncate, slot, length: size },
      claims: [alone(file)],
      check: (answer) => {
        file.truncate(size);
        return wants(answer, 0);
      },
    };
  }

  private fallocate(slot: number, handle: Handle): Step {
    const { file } = handle;
    const { offset, length } = this.range({ ...handle, direct: false });
    const { KEEP_SIZE, PUNCH_HOLE, ZERO_RANGE } = FALLOC;
    const mode = this.world.random.pick([
      0,
      KEEP_SIZE,
      PUNCH_HOLE | KEEP_SIZE,
      PUNCH_HOLE | KEEP_SIZE,
      ZERO_RANGE,
      ZERO_RANGE | KEEP_SIZE,
    ]);
    const end = offset + length;
    return {
      command: { op: Op.fallocate, slot, mode, offset, length },
      claims: [claim(file, offset, end, true, "changes")],
      check: (answer) => {
        if ((mode & (PUNCH_HOLE | ZERO_RANGE)) !== 0) file.zero(offset, end);
        if ((mode & KEEP_SIZE) === 0) file.size = Math.max(file.size, end);
        return wants(answer, 0);
      },
    };
  }

  private copy(slot: number): Step {
    const other = this.world.random.below(SLOTS);
    const [from, to] = [this.handles[slot]!, this.handles[other]];
    const source = this.within(from.file);
    if (source === undefined || to === undefined || to.append) return this.sync(slot);
    const target = this.range({ ...to, direct: false }).offset;
    const length = Math.min(source.length, this.world.fileBytes - target);
    const overlap = from.file === to.file && target < source.offset + length && source.offset < target + length;
    return {
      command: { op: Op.copy, slot, other, offset: source.offset, offsetOther: target, length },
      claims: [
        claim(from.file, source.offset, source.offset + length, false, "uses", true),
        ...(from.file === to.file ? [] : [claim(to.file, target, target + length, true, "changes", true)]),
        ...(from.file === to.file ? [alone(to.file)] : []),
      ],
      check: (answer) => {
        if (overlap) return wants(answer, -E.EINVAL);
        if (answer.result <= 0 || answer.result > length) return wants(answer, length);
        to.file.copyFrom(from.file, source.offset, target, answer.result);
        return undefined;
      },
    };
  }

  private sync(slot: number): Step {
    const command = { op: Op.sync, slot, mode: this.world.random.below(2) };
    return { command, claims: [], check: (answer) => wants(answer, 0) };
  }

  private stat(slot: number, { file }: Handle): Step {
    return {
      command: { op: Op.stat, slot },
      claims: [claim(file, 0, 0, false, "uses"), names],
      check: (answer) => {
        const links = Number(answer.data.readBigUInt64LE(0));
        return (
          wants(answer, file.size) ?? (links === file.links ? undefined : `${links} links instead of ${file.links}`)
        );
      },
    };
  }

  private seek(slot: number, { file }: Handle): Step {
    const { random } = this.world;
    const offset = random.below(file.size + 4096);
    const mode = random.pick([SEEK_DATA, SEEK_HOLE]);
    return {
      command: { op: Op.seek, slot, offset, mode },
      claims: [alone(file)],
      check: ({ result }) => {
        if (offset >= file.size) return result === -E.ENXIO ? undefined : `result ${result} beyond the end`;
        if (mode === SEEK_HOLE) return result >= offset && result <= file.size ? undefined : `hole at ${result}`;
        const data = result === -E.ENXIO ? file.size : result;
        if (data < offset || data > file.size) return `data at ${result}`;
        return file.isZero(offset, data) ? undefined : `no data before ${result}, but there is`;
      },
    };
  }

  private open(slot: number): Step {
    const { random, names: known } = this.world;
    const name = random.pick(NAMES);
    const file = known.get(name);
    const [direct, append, truncates, exclusive] = [0.4, 0.1, 0.05, 0.05].map((share) => random.chance(share));
    const extra =
      (direct ? O.DIRECT : 0) | (append ? O.APPEND : 0) | (truncates ? O.TRUNC : 0) | (exclusive ? O.EXCL : 0);
    return {
      command: { op: Op.open, slot, name, flags: O.RDWR | O.CREAT | extra },
      claims: file === undefined || !truncates ? [names] : [names, alone(file)],
      check: (answer) => {
        this.handles[slot] = undefined;
        if (file !== undefined && exclusive) return wants(answer, -E.EEXIST);
        const opened = file ?? new ModelFile();
        if (truncates) opened.truncate(0);
        known.set(name, opened);
        this.handles[slot] = { file: opened, direct: direct!, append: append! };
        return answer.result < 0 ? `result ${answer.result}` : undefined;
      },
    };
  }

  private rename(): Step {
    const { random, names: known } = this.world;
    const [name, nameOther] = [random.pick(NAMES), random.pick(NAMES)];
    const [from, to] = [known.get(name), known.get(nameOther)];
    const flags = random.pick([0, 0, 0, 1, 2]);
    const wanted =
      from === undefined || (flags === 2 && to === undefined)
        ? -E.ENOENT
        : flags === 1 && to !== undefined
          ? -E.EEXIST
          : 0;
    return {
      command: { op: Op.rename, name, nameOther, flags },
      claims: [names],
      check: (answer) => {
        if (wanted === 0 && from !== to) this.moved(name, nameOther, flags === 2);
        return wants(answer, wanted);
      },
    };
  }

  private moved(name: string, nameOther: string, exchange: boolean): void {
    const { names: known } = this.world;
    const [from, to] = [known.get(name)!, known.get(nameOther)];
    known.set(nameOther, from);
    if (exchange) {
      known.set(name, to!);
      return;
    }
    known.delete(name);
    if (to !== undefined) to.links--;
  }

  private unlink(): Step {
    const { random, names: known } = this.world;
    const name = random.pick(NAMES);
    const file = known.get(name);
    return {
      command: { op: Op.unlink, name },
      claims: [names],
      check: (answer) => {
        if (file !== undefined) file.links--;
        known.delete(name);
        return wants(answer, file === undefined ? -E.ENOENT : 0);
      },
    };
  }

  private link(): Step {
    const { random, names: known } = this.world;
    const [name, nameOther] = [random.pick(NAMES), random.pick(NAMES)];
    const [from, to] = [known.get(name), known.get(nameOther)];
    return {
      command: { op: Op.link, name, nameOther },
      claims: [names],
      check: (answer) => {
        if (from === undefined) return wants(answer, -E.ENOENT);
        if (to !== undefined) return wants(answer, -E.EEXIST);
        from.links++;
        known.set(nameOther, from);
        return wants(answer, 0);
      },
    };
  }
}
