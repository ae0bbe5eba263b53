/** The `stats` file: one screen for people, what matters first. */
import { BLOCK_BYTES } from "../base/units.ts";
import { type Latency, type StatsDocument, unaccountedBlocks } from "./document.ts";
import { humanBytes, humanCount, humanDuration, humanPlural, humanShare } from "./human.ts";

const LABEL_COLUMNS = 10;
const LATENCY_COLUMNS = 10;

export function renderText(document: StatsDocument): string {
  const { version, mountpoint, backing, uptime_us } = document;
  const over = backing === mountpoint ? "" : ` (${backing})`;
  const lines = [
    `hypegear ${version} on ${mountpoint}${over}, up ${humanDuration(uptime_us)}`,
    `${durability(document)}, policy ${document.policy}, transport ${document.transport}, io ${document.io}`,
    `${document.device.class}: ${document.device.reason}`,
    "",
    row("dirty", dirty(document)),
    row("failing", failing(document)),
    row("pressure", pressure(document)),
    row("absorbed", absorbed(document)),
    row("blocks", blocks(document)),
    "",
    row("latency", cells("p50", "p99", "max")),
    latencyRow("write", document.latency_us.write),
    latencyRow("read", document.latency_us.read),
    latencyRow("flush", document.flushes.latency_us),
    "",
    row("writes", writes(document)),
    row("reads", reads(document)),
    row("flushes", flushes(document)),
    row("journal", journal(document)),
    row("home", home(document)),
    row("cache", cache(document)),
    row("engine", engine(document)),
  ];
  return `${lines.join("\n")}\n`;
}

const row = (label: string, text: string): string => `${label.padEnd(LABEL_COLUMNS)}${text}`;

const cells = (...texts: string[]): string => texts.map((text) => text.padStart(LATENCY_COLUMNS)).join("");

const latencyRow = (label: string, { p50, p99, max }: Latency): string =>
  row(
    `  ${label}`,
    max === 0 ? cells("-", "-", "-") : cells(humanDuration(p50), humanDuration(p99), humanDuration(max)),
  );

function dirty({ dirty: { bytes, limit_bytes, oldest_us, seconds_to_clean } }: StatsDocument): string {
  const share = `${humanBytes(bytes)} of ${humanBytes(limit_bytes)} (${humanShare(bytes, limit_bytes)})`;
  if (bytes === 0) return `${share}: everything is home`;
  const clean = seconds_to_clean < 0 ? "an unknown time" : humanDuration(seconds_to_clean * 1e6);
  return `${share}, oldest ${humanDuration(oldest_us)}, home in ${clean}`;
}

function failing({ images, writeback }: StatsDocument): string {
  const before = writeback.errors === 0 ? "" : ` (${humanPlural(writeback.errors, "home write")} failed so far)`;
  const found: string[] = [];
  if (images.failing > 0)
    found.push(`${loud(images.failing)} CANNOT BE WRITTEN HOME${before}: data kept and retried, see images.json`);
  if (images.stalled > 0)
    found.push(
      `${loud(images.stalled)} WITHOUT AN ANSWER OF THE DEVICE: data kept, other devices are served, see images.json`,
    );
  return found.length === 0 ? `nothing${before}` : found.join("; ");
}

const loud = (images: number): string => humanPlural(images, "image").toUpperCase();

function pressure({ pressure: { delay_us, waiting_requests }, writes: w }: StatsDocument): string {
  const now =
    delay_us === 0 && waiting_requests === 0
      ? "none"
      : `${humanDuration(delay_us)} a write, ${humanCount(waiting_requests)} waiting`;
  return w.delayed_requests === 0
    ? now
    : `${now} (so far ${humanPlural(w.delayed_requests, "write")} delayed for ${humanDuration(w.delayed_us)})`;
}

function absorbed({ writes: w }: StatsDocument): string {
  const total = w.absorbed_rewrite_blocks + w.absorbed_discard_blocks;
  return `${humanShare(total, w.blocks)} of what was written never went to the device: ${humanBytes(total * BLOCK_BYTES)}`;
}

/** The identity of `unaccountedBlocks`, for everybody to check. */
function blocks(document: StatsDocument): string {
  const { writes: w, writeback, dirty: d } = document;
  const sum =
    `${humanCount(w.blocks)} written = ${humanCount(w.absorbed_rewrite_blocks)} rewritten + ` +
    `${humanCount(w.absorbed_discard_blocks)} discarded + ${humanCount(writeback.blocks)} home + ${humanCount(d.blocks)} dirty`;
  const rest = unaccountedBlocks(document);
  return rest === 0 ? sum : `${sum} (${humanCount(rest)} unaccounted)`;
}

const writes = ({ writes: w }: StatsDocument): string =>
  `${humanPlural(w.requests, "request")}, ${humanBytes(w.bytes)}`;

const reads = ({ reads: r }: StatsDocument): string =>
  `${humanPlural(r.requests, "request")}, ${humanBytes(r.bytes)}, ` +
  `${humanShare(r.hit_blocks, r.hit_blocks + r.miss_blocks)} of the blocks from the cache`;

function flushes({ flushes: f }: StatsDocument): string {
  const text = `${humanPlural(f.requests, "request")}, ${humanCount(f.home)} by going home`;
  return f.commits === 0 ? text : `${text}, ${humanPlural(f.commits, "commit")} of ${humanBytes(f.journal_bytes)}`;
}

const durability = ({ durability: mode, loss_window_us }: StatsDocument): string =>
  mode === "ordered" ? `ordered every ${humanDuration(loss_window_us)}` : mode;

function journal({ journal: j }: StatsDocument): string {
  if (j.state === "none") return "none: flushes take their image home";
  if (j.state === "failed") return "FAILED, and given up: flushes take their image home, see the log";
  const used = `${humanBytes(j.used_bytes)} of ${humanBytes(j.bytes)} in ${humanPlural(j.commits_live, "commit")}`;
  return `${used}, ${humanPlural(j.uncommitted_blocks, "dirty block")} not in it`;
}

const home = ({ writeback: w }: StatsDocument): string =>
  `${humanPlural(w.ios, "write")}, ${humanBytes(w.bytes)}, ${humanPlural(w.mean_run_blocks, "block")} each, ` +
  `${humanBytes(w.bytes_per_second)}/s, ${humanCount(w.inflight)} in flight`;

const cache = ({ slab }: StatsDocument): string =>
  `${humanBytes(slab.frames * BLOCK_BYTES)}, ${humanBytes(slab.free_frames * BLOCK_BYTES)} free, ` +
  `${humanBytes(slab.metadata_bytes)} of tables`;

const engine = ({ engine: e }: StatsDocument): string =>
  `pid ${e.pid}, ${humanPlural(e.restarts, "restart")}, ${humanDuration(e.cpu_us)} of CPU, ${humanBytes(e.resident_bytes)} resident`;
