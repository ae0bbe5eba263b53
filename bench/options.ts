/** The command line of the bench. */
import { tmpdir } from "node:os";
import { parseArgs } from "node:util";
import { SERVERS } from "./servers/all.ts";
import { WORKLOADS } from "./workloads.ts";

export const PARTS = ["speed", "ls", "idle", "durability", "recovery", "rotating"] as const;
export type Part = (typeof PARTS)[number];

export interface Options {
  parts: Part[];
  rounds: number;
  /** Running time of one measurement. */
  seconds: number;
  warmUpSeconds: number;
  imageBytes: number;
  /** hypegear's cache; four times the image, so that nothing must go home during the run. */
  cacheBytes: number;
  files: number;
  idleSeconds: number;
  /** Dirty data at the kill of an engine, and the journal that is taken home. */
  dirtyBytes: number;
  journalBytes: number;
  servers: string[];
  workloads: string[];
  seed: number;
  engine: "libaio" | "io_uring";
  pin: number | null;
  directory: string;
  json: string | null;
}

export const USAGE = `usage: npm run bench -- [PART...] [options]        PARTs, without names all: ${PARTS.join(" ")}
  --rounds N       rounds, each server in each (default 5)      --seconds S   of one measurement (default 2)
  --only A,B       only these servers and workloads of speed:
                   ${SERVERS.map((server) => server.name).join(" ")}
                   ${WORKLOADS.map((workload) => workload.name).join(" ")}
  --pin CPU        servers and client on this one CPU           --seed N      of fio's random offsets (default 1)
  --engine E       libaio (default) or io_uring, in fio         --json FILE   all samples too
  --directory DIR  on the filesystem to compare with (default: the temporary directory)
  --smoke          tiny: one round of 0.3 s, 32 MiB, to see that it all runs\n`;

/** A mistake on the command line. */
export class UsageError extends Error {
  override name = "UsageError";
}

const FLAGS = {
  rounds: { type: "string" },
  seconds: { type: "string" },
  only: { type: "string" },
  pin: { type: "string" },
  seed: { type: "string", default: "1" },
  engine: { type: "string", default: "libaio" },
  json: { type: "string" },
  directory: { type: "string" },
  smoke: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
} as const;

const FULL = {
  rounds: 5,
  seconds: 2,
  warmUpSeconds: 0.4,
  imageBytes: 256 * 2 ** 20,
  cacheBytes: 2 ** 30,
  files: 10_000,
  idleSeconds: 10,
  dirtyBytes: 4 * 2 ** 30,
  journalBytes: 2 ** 30,
};
const SMOKE: typeof FULL = {
  rounds: 1,
  seconds: 0.3,
  warmUpSeconds: 0.1,
  imageBytes: 32 * 2 ** 20,
  cacheBytes: 128 * 2 ** 20,
  files: 300,
  idleSeconds: 1,
  dirtyBytes: 32 * 2 ** 20,
  journalBytes: 64 * 2 ** 20,
};

function numberWithin(flag: string, text: string | undefined, fallback: number, min: number, max: number): number {
  const value = text === undefined ? fallback : Number(text);
  if (!(value >= min && value <= max)) throw new UsageError(`--${flag} must be ${min} to ${max}: received ${text}`);
  return value;
}

/** Splits `--only`; a list that names no server means all of them, and so for the workloads. */
function selection(only: string | undefined): { servers: string[]; workloads: string[] } {
  const names = only === undefined ? [] : only.split(",");
  const known = (list: readonly { name: string }[]) => list.map((entry) => entry.name);
  const pick = (all: string[]) => {
    const chosen = all.filter((name) => names.includes(name));
    return chosen.length > 0 ? chosen : all;
  };
  const unknown = names.find((name) => ![...known(SERVERS), ...known(WORKLOADS)].includes(name));
  if (unknown !== undefined) throw new UsageError(`--only knows no "${unknown}"`);
  return { servers: pick(known(SERVERS)), workloads: pick(known(WORKLOADS)) };
}

function partsOf(names: string[]): Part[] {
  const unknown = names.find((name) => !(PARTS as readonly string[]).includes(name));
  if (unknown !== undefined) throw new UsageError(`there is no "${unknown}" to measure: ${PARTS.join(", ")}`);
  return names.length === 0 ? [...PARTS] : PARTS.filter((part) => names.includes(part));
}

function engineOf(text: string): "libaio" | "io_uring" {
  if (text !== "libaio" && text !== "io_uring")
    throw new UsageError(`--engine must be libaio or io_uring: received ${text}`);
  return text;
}

function parse(args: string[]) {
  try {
    return parseArgs({ args, options: FLAGS, allowPositionals: true });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

/** null: help was asked for. Throws UsageError. */
export function readOptions(args: string[]): Options | null {
  const { values, positionals } = parse(args);
  if (values.help) return null;
  const size = values.smoke ? SMOKE : FULL;
  return {
    ...size,
    ...selection(values.only),
    parts: partsOf(positionals),
    rounds: numberWithin("rounds", values.rounds, size.rounds, 1, 1000),
    seconds: numberWithin("seconds", values.seconds, size.seconds, 0.1, 600),
    seed: numberWithin("seed", values.seed, 1, 0, 2 ** 31),
    engine: engineOf(values.engine),
    pin: values.pin === undefined ? null : numberWithin("pin", values.pin, 0, 0, 1023),
    directory: values.directory ?? tmpdir(),
    json: values.json ?? null,
  };
}
