/** What a flush costs: 4k random writes with fdatasync after each, on hypegear's modes of durability and on its peers. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { DURABLE_SERVERS, type DurableServer } from "./durability-servers.ts";
import type { Options } from "./options.ts";
import type { Cleanup } from "./support/cleanup.ts";
import { type FioJob, type FioResult, runFio } from "./support/fio.ts";
import { Unavailable } from "./support/process.ts";
import { ratioSpread, type Spread, spreadOf } from "./support/spread.ts";
import { figure, renderTable, spreadText } from "./support/table.ts";
import { takeTurns } from "./support/turns.ts";

const WRITERS_MOST = 8;

interface FlushWorkload {
  name: string;
  title: string;
  writers: number;
  flushEvery: number;
}

export const FLUSH_WORKLOADS: readonly FlushWorkload[] = [
  { name: "1-each", title: "1 writer, fdatasync after each", writers: 1, flushEvery: 1 },
  { name: "8-each", title: "8 writers on 8 files, fdatasync after each", writers: WRITERS_MOST, flushEvery: 1 },
  { name: "1-every-32", title: "1 writer, fdatasync after every 32", writers: 1, flushEvery: 32 },
  { name: "1-never", title: "1 writer, no flush at all", writers: 1, flushEvery: 0 },
  { name: "8-never", title: "8 writers on 8 files, no flush at all", writers: WRITERS_MOST, flushEvery: 0 },
];

export interface DurabilitySeries {
  name: string;
  about: string;
  /** Writes a second by workload, round by round; null where it failed. */
  iops: Record<string, (number | null)[]>;
}

export interface DurabilityResult {
  series: DurabilitySeries[];
  missing: { server: string; reason: string }[];
}

interface Contestant extends DurabilitySeries {
  images: string[];
  unflushed: boolean;
}

/** Starts all servers below `scratch`, measures in turns, and leaves stopping them to `cleanup`. */
export async function measureDurability(
  options: Options,
  scratch: string,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<DurabilityResult> {
  const contestants: Contestant[] = [];
  const missing: DurabilityResult["missing"] = [];
  const drop = (server: string, reason: string): void => {
    missing.push({ server, reason });
    say(`${server}: not measured: ${reason}`);
  };
  for (const server of DURABLE_SERVERS) {
    try {
      contestants.push(await enter(server, options, scratch, cleanup));
    } catch (error) {
      drop(server.name, error instanceof Unavailable ? error.message : String(error));
    }
  }
  await takeTurns(options.rounds, FLUSH_WORKLOADS, contestants, say, async (contestant, workload, round) => {
    if (workload.flushEvery === 0 && !contestant.unflushed) return;
    const job = jobOf(contestant, workload, round, options, cleanup);
    const samples = (contestant.iops[workload.name] ??= []);
    try {
      await runFio({ ...job, seconds: options.warmUpSeconds });
      samples.push((await runFio(job)).iops);
    } catch (error) {
      samples.push(null);
      drop(contestant.name, `${workload.title}, round ${round + 1}: ${String(error)}`);
    }
  });
  return { series: contestants.map(({ name, about, iops }) => ({ name, about, iops })), missing };
}

const imageBytes = (options: Options): number => options.imageBytes / WRITERS_MOST;

async function enter(server: DurableServer, options: Options, scratch: string, cleanup: Cleanup): Promise<Contestant> {
  const directory = join(scratch, server.name);
  mkdirSync(directory);
  const images = await server.start({ ...options, imageBytes: imageBytes(options), directory, cleanup }, WRITERS_MOST);
  const contestant = { name: server.name, about: server.about, unflushed: server.unflushed, images, iops: {} };
  await warm(contestant, options, cleanup);
  return contestant;
}

/** Every image once from end to end, so that all start from laid-out files and hypegear from known ones. */
const warm = (contestant: Contestant, options: Options, cleanup: Cleanup): Promise<FioResult> => {
  const job = jobOf(contestant, { writers: WRITERS_MOST, flushEvery: 0 }, 0, options, cleanup);
  return runFio({ ...job, rw: "write", blockSize: "1m", seconds: null });
};

function jobOf(
  { images }: Contestant,
  { writers, flushEvery }: Pick<FlushWorkload, "writers" | "flushEvery">,
  round: number,
  options: Options,
  cleanup: Cleanup,
): FioJob {
  const { engine, seconds, seed, pin } = options;
  const request = { rw: "randwrite", blockSize: "4k", depth: 1, flushEvery } as const;
  const files = { files: images.slice(0, writers), bytes: imageBytes(options) };
  return { ...files, ...request, engine, seconds, seed: seed + round, pin, interrupted: cleanup.interrupted };
}

/** What the project holds itself to: the quotient of two series of samples. */
interface Target {
  what: string;
  over: [server: string, workload: string];
  under: [server: string, workload: string];
  wanted: string;
}

const TARGETS: readonly Target[] = [
  {
    what: "sync / backing, 1 writer",
    over: ["sync", "1-each"],
    under: ["backing", "1-each"],
    wanted: "at least 0.9",
  },
  {
    what: "sync / backing, 8 writers",
    over: ["sync", "8-each"],
    under: ["backing", "8-each"],
    wanted: "above 1.0",
  },
  ...(["1", "8"] as const).flatMap((writers) =>
    ["ordered", "backing"].map((without): Target => {
      const what = `ordered's time with fdatasync / ${without}'s without, ${writers === "1" ? "1 writer" : "8 writers"}`;
      return {
        what,
        over: [without, `${writers}-never`],
        under: ["ordered", `${writers}-each`],
        wanted: "at most 1.3",
      };
    }),
  ),
];

export interface TargetRatio {
  what: string;
  wanted: string;
  ratio: Spread | null;
}

/** Each target with its ratio, the median of the rounds' own; null where one side was not measured. */
export function targetRatios({ series }: DurabilityResult): TargetRatio[] {
  const samples = ([server, workload]: [string, string]) =>
    series.find(({ name }) => name === server)?.iops[workload] ?? [];
  return TARGETS.map(({ what, over, under, wanted }) => {
    return { what, wanted, ratio: ratioSpread(samples(over), samples(under)) };
  });
}

function workloadTable(result: DurabilityResult, { name, title }: FlushWorkload): string {
  const measured = result.series.filter(({ iops }) => iops[name] !== undefined);
  if (measured.length === 0) return "";
  const reference = result.series.find((series) => series.name === "backing")?.iops[name] ?? [];
  const rows = measured.map(({ name: server, iops }) => {
    const present = iops[name]!.filter((value) => value !== null);
    const ratio = server === "backing" ? null : ratioSpread(iops[name]!, reference);
    return [
      server,
      spreadText(present.length === 0 ? null : spreadOf(present)),
      ratio === null ? "" : `${figure(ratio.median)} x`,
    ];
  });
  return `4k randwrite, ${title}\n${renderTable(["", "writes/s", "of backing"], rows)}\n`;
}

export function durabilityReport(result: DurabilityResult): string {
  const legend = result.series.map(({ name, about }) => `  ${name}: ${about}\n`).join("");
  const missing = result.missing.map(({ server, reason }) => `  not measured: ${server}: ${reason}\n`).join("");
  const tables = FLUSH_WORKLOADS.map((workload) => workloadTable(result, workload)).join("");
  const rows = targetRatios(result).map(({ what, wanted, ratio }) => [what, wanted, spreadText(ratio)]);
  return `${legend}${missing}\n${tables}${renderTable(["targets", "wanted", "measured (min-max)"], rows)}`;
}
