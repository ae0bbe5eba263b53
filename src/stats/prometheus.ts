/**
 * The `metrics` file: Prometheus text exposition format 0.0.4. Units are its base units, bytes and seconds; blocks are
 * 4 KiB. Each sample carries the mountpoint, so that the files of several mounts can be joined.
 */
import { type Counters, HistogramSlot } from "./counters.ts";
import type { StatsDocument } from "./document.ts";

type Labels = Record<string, string>;
type Sample = [labels: Labels, value: number];

interface Family {
  name: string;
  type: "counter" | "gauge";
  help: string;
  samples: (document: StatsDocument) => Sample[];
}

const seconds = (us: number): number => us / 1e6;

/** A family of one sample without labels of its own. */
const single = (
  type: Family["type"],
  name: string,
  help: string,
  value: (document: StatsDocument) => number,
): Family => ({
  name,
  type,
  help,
  samples: (document) => [[{}, value(document)]],
});
const counter = single.bind(null, "counter");
const gauge = single.bind(null, "gauge");

const FAMILIES: readonly Family[] = [
  {
    name: "hypegear_info",
    type: "gauge",
    help: "Always 1; its labels say what runs.",
    samples: (d) => [
      [
        {
          version: d.version,
          device: d.device.class,
          durability: d.durability,
          policy: d.policy,
          transport: d.transport,
          io: d.io,
        },
        1,
      ],
    ],
  },
  gauge("hypegear_uptime_seconds", "Time since the mount.", (d) => seconds(d.uptime_us)),
  gauge("hypegear_dirty_blocks", "Blocks accepted and not yet home.", (d) => d.dirty.blocks),
  gauge("hypegear_dirty_bytes", "Bytes of the dirty blocks.", (d) => d.dirty.bytes),
  gauge("hypegear_dirty_limit_bytes", "Dirty bytes at which writers wait.", (d) => d.dirty.limit_bytes),
  gauge("hypegear_dirty_oldest_seconds", "Age of the oldest dirty block.", (d) => seconds(d.dirty.oldest_us)),
  {
    name: "hypegear_seconds_to_clean",
    type: "gauge",
    help: "Dirty bytes over the measured drain rate; absent while that is unknown.",
    samples: (d) => (d.dirty.seconds_to_clean < 0 ? [] : [[{}, d.dirty.seconds_to_clean]]),
  },
  gauge("hypegear_dirty_images", "Images with dirty blocks.", (d) => d.images.dirty),
  gauge(
    "hypegear_failing_images",
    "Images whose data cannot be written home: kept and retried.",
    (d) => d.images.failing,
  ),
  gauge(
    "hypegear_stalled_images",
    "Images of whose device nothing is heard: their data is kept, other devices are served.",
    (d) => d.images.stalled,
  ),
  {
    name: "hypegear_requests_total",
    type: "counter",
    help: "Requests served.",
    samples: (d) => [
      [{ op: "write" }, d.writes.requests],
      [{ op: "read" }, d.reads.requests],
      [{ op: "flush" }, d.flushes.requests],
    ],
  },
  {
    name: "hypegear_request_bytes_total",
    type: "counter",
    help: "Bytes of the requests served.",
    samples: (d) => [
      [{ op: "write" }, d.writes.bytes],
      [{ op: "read" }, d.reads.bytes],
    ],
  },
  counter(
    "hypegear_written_blocks_total",
    "Blocks touched by writes: absorbed, home or dirty.",
    (d) => d.writes.blocks,
  ),
  {
    name: "hypegear_absorbed_blocks_total",
    type: "counter",
    help: "Dirty blocks overwritten or discarded before they went home.",
    samples: (d) => [
      [{ by: "rewrite" }, d.writes.absorbed_rewrite_blocks],
      [{ by: "discard" }, d.writes.absorbed_discard_blocks],
    ],
  },
  counter("hypegear_home_blocks_total", "Blocks that became durable at home.", (d) => d.writeback.blocks),
  {
    name: "hypegear_read_blocks_total",
    type: "counter",
    help: "Blocks read, by where they were found.",
    samples: (d) => [
      [{ from: "cache" }, d.reads.hit_blocks],
      [{ from: "home" }, d.reads.miss_blocks],
    ],
  },
  counter("hypegear_delayed_writes_total", "Writes delayed because much was dirty.", (d) => d.writes.delayed_requests),
  counter("hypegear_write_delay_seconds_total", "Sum of those delays.", (d) => seconds(d.writes.delayed_us)),
  gauge("hypegear_write_delay_seconds", "Delay that a write gets now.", (d) => seconds(d.pressure.delay_us)),
  gauge("hypegear_waiting_writes", "Writes that wait now.", (d) => d.pressure.waiting_requests),
  counter("hypegear_home_flushes_total", "Flushes that took dirty blocks home.", (d) => d.flushes.home),
  counter("hypegear_journal_commits_total", "Journal transactions.", (d) => d.flushes.commits),
  counter("hypegear_journal_bytes_total", "Bytes appended to the journal.", (d) => d.flushes.journal_bytes),
  gauge("hypegear_journal_size_bytes", "Room of the journal; 0 without one.", (d) => d.journal.bytes),
  gauge("hypegear_journal_used_bytes", "How much of it is taken.", (d) => d.journal.used_bytes),
  gauge("hypegear_journal_live_commits", "Commits that a recovery would read.", (d) => d.journal.commits_live),
  gauge(
    "hypegear_uncommitted_blocks",
    "Dirty blocks that the journal does not have.",
    (d) => d.journal.uncommitted_blocks,
  ),
  gauge("hypegear_journal_failed", "1 when the journal has failed and flushes go home.", (d) =>
    Number(d.journal.state === "failed"),
  ),
  gauge("hypegear_loss_window_seconds", "Time between two instants of mode ordered.", (d) => seconds(d.loss_window_us)),
  counter("hypegear_home_writes_total", "Writes to backing files.", (d) => d.writeback.ios),
  counter("hypegear_home_write_bytes_total", "Bytes of those writes.", (d) => d.writeback.bytes),
  counter("hypegear_home_write_errors_total", "Writes to backing files that failed.", (d) => d.writeback.errors),
  gauge("hypegear_home_writes_inflight", "Writes to backing files in flight.", (d) => d.writeback.inflight),
  gauge(
    "hypegear_drain_bytes_per_second",
    "Measured rate at which dirty data goes home.",
    (d) => d.writeback.bytes_per_second,
  ),
  gauge("hypegear_slab_bytes", "Shared memory of the cache.", (d) => d.slab.bytes),
  gauge("hypegear_frames", "Places for blocks in the cache.", (d) => d.slab.frames),
  gauge("hypegear_free_frames", "Those that are free.", (d) => d.slab.free_frames),
  gauge("hypegear_metadata_bytes", "Memory of the cache's tables.", (d) => d.slab.metadata_bytes),
  counter("hypegear_engine_restarts_total", "Engines that died and were replaced.", (d) => d.engine.restarts),
  counter("hypegear_engine_cpu_seconds_total", "CPU time of all engines since the mount.", (d) =>
    seconds(d.engine.cpu_us),
  ),
  gauge(
    "hypegear_engine_resident_bytes",
    "Resident memory of the engine without the slab.",
    (d) => d.engine.resident_bytes,
  ),
];

const LATENCY = "hypegear_request_duration_seconds";
/** Bucket bounds are 2^k microseconds: 4 us to 67 s. */
const OCTAVE_FIRST = 2;
const OCTAVE_LAST = 26;

/** `counters` are those that `document` was made from. */
export function renderPrometheus(document: StatsDocument, counters: Counters): string {
  const mount = { mount: document.mountpoint };
  const lines: string[] = [];
  for (const { name, type, help, samples } of FAMILIES) {
    lines.push(...head(name, type, help));
    for (const [labels, value] of samples(document)) lines.push(sample(name, { ...mount, ...labels }, value));
  }
  lines.push(...head(LATENCY, "histogram", "From reading a request to its answer."));
  for (const [op, slot] of Object.entries(HistogramSlot)) lines.push(...histogram({ ...mount, op }, counters, slot));
  return `${lines.join("\n")}\n`;
}

function histogram(labels: Labels, counters: Counters, slot: number): string[] {
  const total = counters.countBelow(slot, Number.POSITIVE_INFINITY);
  const lines: string[] = [];
  for (let octave = OCTAVE_FIRST; octave <= OCTAVE_LAST; octave++) {
    const le = String(seconds(2 ** octave));
    lines.push(sample(`${LATENCY}_bucket`, { ...labels, le }, counters.countBelow(slot, octave)));
  }
  lines.push(
    sample(`${LATENCY}_bucket`, { ...labels, le: "+Inf" }, total),
    sample(`${LATENCY}_sum`, labels, seconds(Math.round(counters.sum(slot)))),
    sample(`${LATENCY}_count`, labels, total),
  );
  return lines;
}

const head = (name: string, type: string, help: string): string[] => [
  `# HELP ${name} ${help}`,
  `# TYPE ${name} ${type}`,
];

function sample(name: string, labels: Labels, value: number): string {
  const pairs = Object.entries(labels).map(([label, text]) => `${label}="${escaped(text)}"`);
  return `${name}{${pairs.join(",")}} ${value}`;
}

/** Backslash, quote and line feed are the three that the format escapes in a label's value. */
const escaped = (text: string): string =>
  text.replace(/[\\"\n]/g, (character) => (character === "\n" ? "\\n" : `\\${character}`));
