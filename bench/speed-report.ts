/** The tables of the speed bench, and the ratios that the project holds itself to. */
import type { Sample, Series, SpeedResult } from "./speed.ts";
import { ratioSpread, type Spread, spreadOf } from "./support/spread.ts";
import { figure, renderTable, spreadText } from "./support/table.ts";
import { WORKLOADS, type Workload } from "./workloads.ts";

type Figure = (sample: Sample) => number | null;

const iops: Figure = (sample) => sample.iops;
const cpu: Figure = (sample) => sample.cpuUs;
const latency: Figure = (sample) => sample.latencyUs?.mean ?? null;
const latencyP99: Figure = (sample) => sample.latencyUs?.p99 ?? null;

/** One figure of one server for one workload, round by round. */
const figures = (series: Series | undefined, workload: string, of: Figure): (number | null)[] =>
  (series?.samples.get(workload) ?? []).map((sample) => (sample === null ? null : of(sample)));

function spreadOver(values: (number | null)[]): Spread | null {
  const present = values.filter((value) => value !== null);
  return present.length === 0 ? null : spreadOf(present);
}

function row(series: Series, hypegear: Series | undefined, { name, depth }: Workload): string[] {
  const own = (of: Figure) => spreadText(spreadOver(figures(series, name, of)));
  const against = (of: Figure) => {
    const ratio = ratioSpread(figures(hypegear, name, of), figures(series, name, of));
    return ratio === null || series === hypegear ? "" : `${figure(ratio.median)} x`;
  };
  const atDepth1 = depth === 1 ? [own(latency), own(latencyP99)] : [];
  return [series.server.name, own(iops), against(iops), own(cpu), against(cpu), ...atDepth1];
}

function workloadTable(result: SpeedResult, workload: Workload): string {
  const hypegear = result.series.find(({ server }) => server.name === "hypegear");
  const header = ["", "IOPS", "hypegear has", "server CPU us/op", "hypegear needs"];
  const atDepth1 = workload.depth === 1 ? ["latency us, mean", "latency us, p99"] : [];
  const rows = result.series.map((series) => row(series, hypegear, workload));
  return `${workload.title}\n${renderTable([...header, ...atDepth1], rows)}`;
}

/** A ratio that issue 2 ("Speed") asks for. Two C servers: libfuse has two ways, and each is the faster one somewhere. */
interface Goal {
  workload: string;
  what: string;
  of: Figure;
  peer: string;
  wanted: string;
}

const againstBothC = (goal: Omit<Goal, "peer">): Goal[] => [
  { ...goal, peer: "c" },
  { ...goal, peer: "c-splice" },
];

const GOALS: readonly Goal[] = [
  ...againstBothC({ workload: "4k-write-qd32", what: "IOPS", of: iops, wanted: "at least 0.8" }),
  { workload: "4k-write-qd32", what: "IOPS", of: iops, peer: "fuse-native", wanted: "at least 10" },
  { workload: "4k-write-qd32", what: "IOPS", of: iops, peer: "fuse-native-tuned", wanted: "at least 10" },
  ...againstBothC({ workload: "4k-write-qd32", what: "CPU per operation", of: cpu, wanted: "at most 1.5" }),
  ...againstBothC({ workload: "4k-write-qd1", what: "CPU per operation", of: cpu, wanted: "at most 1.5" }),
  ...againstBothC({ workload: "4k-write-qd1", what: "mean latency", of: latency, wanted: "at most 1.3" }),
  ...againstBothC({ workload: "4k-read-qd1", what: "mean latency", of: latency, wanted: "at most 1.3" }),
  ...againstBothC({ workload: "64k-write-qd8", what: "IOPS", of: iops, wanted: "at least 1.0" }),
  ...againstBothC({ workload: "1m-write-qd4", what: "IOPS", of: iops, wanted: "at least 1.0" }),
];

export interface GoalRatio {
  goal: string;
  wanted: string;
  ratio: Spread | null;
}

/** Each goal with its measured ratio: the median of the rounds' own ratios. */
export function goalRatios({ series }: SpeedResult): GoalRatio[] {
  const named = (name: string) => series.find(({ server }) => server.name === name);
  return GOALS.map(({ workload, what, of, peer, wanted }) => {
    const ratio = ratioSpread(figures(named("hypegear"), workload, of), figures(named(peer), workload, of));
    const title = WORKLOADS.find(({ name }) => name === workload)!.title;
    return { goal: `${title}, ${what}, hypegear / ${peer}`, wanted, ratio };
  });
}

function goalTable(result: SpeedResult): string {
  const measured = goalRatios(result).filter(({ ratio }) => ratio !== null);
  if (measured.length === 0) return "";
  const rows = measured.map(({ goal, wanted, ratio }) => [goal, wanted, spreadText(ratio)]);
  return `\nThe ratios that issue 2 (Speed) asks for\n${renderTable(["", "wanted", "measured (min-max)"], rows)}`;
}

export function speedReport(result: SpeedResult): string {
  const measured = WORKLOADS.filter(({ name }) => result.series.some(({ samples }) => samples.has(name)));
  const legend = result.series.map(({ server }) => `  ${server.name}: ${server.about}\n`).join("");
  const missing = result.missing.map(({ server, reason }) => `  not measured: ${server}: ${reason}\n`).join("");
  const remarks = result.series
    .map(({ server, remark }) => (remark === null ? "" : `  ${server.name}: ${remark}\n`))
    .join("");
  const tables = measured.map((workload) => workloadTable(result, workload)).join("\n");
  return `${legend}${missing}\n${tables}${remarks === "" ? "" : `\n${remarks}`}${goalTable(result)}`;
}
