/** `hypegear top`: a live view, one picture a second. On a terminal it redraws; elsewhere it prints a line a second. */
import { setTimeout as sleep } from "node:timers/promises";
import { Command } from "commander";
import { formatDuration, formatSize } from "../base/size.ts";
import type { StatsDocument } from "../stats/document.ts";
import { findMount, readStats } from "./control.ts";
import { barText } from "./progress.ts";

const HOME_AND_CLEAR = "\u001b[H\u001b[J";
const PERIOD_MS = 1000;

export function topCommand(): Command {
  return new Command("top")
    .description("Shows what the mount is doing, every second, until Ctrl-C.")
    .argument("<MOUNTPOINT>", "a hypegear mount")
    .action(async (mountpoint: string) => watch(findMount(mountpoint).path));
}

async function watch(mountpoint: string): Promise<void> {
  const draw = process.stdout.isTTY ? picture : line;
  const ended = new AbortController();
  process.stdout.once("error", () => ended.abort());
  let before = await readStats(mountpoint);
  while (!ended.signal.aborted) {
    await sleep(PERIOD_MS);
    const now = await readStats(mountpoint);
    process.stdout.write(draw(before, now));
    before = now;
  }
}

/** Rates between two documents, a second. */
function rates(
  before: StatsDocument,
  now: StatsDocument,
): Record<"writes" | "written" | "reads" | "read" | "home" | "absorbed" | "cpu", number> {
  const seconds = Math.max(1e-6, (now.uptime_us - before.uptime_us) / 1e6);
  const rate = (of: (document: StatsDocument) => number): number => (of(now) - of(before)) / seconds;
  return {
    writes: rate((d) => d.writes.requests),
    written: rate((d) => d.writes.bytes),
    reads: rate((d) => d.reads.requests),
    read: rate((d) => d.reads.bytes),
    home: rate((d) => d.writeback.bytes),
    absorbed: rate((d) => d.writes.absorbed_rewrite_blocks + d.writes.absorbed_discard_blocks),
    cpu: rate((d) => d.engine.cpu_us) / 1e4,
  };
}

const perSecond = (value: number): string => `${Math.round(value)}/s`;
const bytesPerSecond = (value: number): string => `${formatSize(Math.round(value))}/s`;

function picture(before: StatsDocument, now: StatsDocument): string {
  const r = rates(before, now);
  const { p50, p99, max } = now.latency_us.write;
  const clean = now.dirty.seconds_to_clean < 0 ? "unknown" : formatDuration(now.dirty.seconds_to_clean);
  const rows = [
    `hypegear ${now.backing} at ${now.mountpoint}  up ${formatDuration(Math.floor(now.uptime_us / 1e6))}  ${now.durability}  ${now.policy}`,
    "",
    `writes    ${perSecond(r.writes).padStart(12)} ${bytesPerSecond(r.written).padStart(12)}   p50 ${p50} us  p99 ${p99} us  max ${max} us`,
    `reads     ${perSecond(r.reads).padStart(12)} ${bytesPerSecond(r.read).padStart(12)}   p50 ${now.latency_us.read.p50} us  p99 ${now.latency_us.read.p99} us`,
    `home      ${"".padStart(12)} ${bytesPerSecond(r.home).padStart(12)}   ${now.writeback.inflight} in flight  ${now.writeback.errors} errors`,
    `absorbed  ${perSecond(r.absorbed).padStart(12)} blocks that need no device write`,
    "",
    barText("dirty", now.dirty.bytes, now.dirty.limit_bytes),
    `clean in ${clean}   writers wait ${now.pressure.delay_us} us   failing images ${now.images.failing}, stalled ${now.images.stalled}`,
    `engine   pid ${now.engine.pid}  cpu ${r.cpu.toFixed(1)} %  restarts ${now.engine.restarts}  memory ${formatSize(now.engine.resident_bytes)} + slab ${formatSize(now.slab.bytes)}`,
    "",
  ];
  return HOME_AND_CLEAR + rows.join("\n");
}

function line(before: StatsDocument, now: StatsDocument): string {
  const r = rates(before, now);
  return `writes ${perSecond(r.writes)} ${bytesPerSecond(r.written)}  reads ${perSecond(r.reads)} ${bytesPerSecond(r.read)}  home ${bytesPerSecond(r.home)}  dirty ${formatSize(now.dirty.bytes)} of ${formatSize(now.dirty.limit_bytes)}  cpu ${r.cpu.toFixed(1)} %\n`;
}
