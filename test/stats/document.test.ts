import { describe, expect, test } from "vitest";
import { Counter, Counters } from "../../src/stats/counters.ts";
import { imagesDocument, statsDocument, unaccountedBlocks } from "../../src/stats/document.ts";
import { renderJson } from "../../src/stats/json.ts";
import type { ImageSource } from "../../src/stats/source.ts";
import { exampleCounters, exampleSource } from "./example.ts";

const image = (path: string, dirtyBlocks: number, changes: Partial<ImageSource> = {}): ImageSource => ({
  path,
  sizeBytes: 1 << 30,
  dirtyBlocks,
  oldestUs: 0,
  inflight: 0,
  failing: false,
  stalled: false,
  lastError: "",
  ...changes,
});

/** All leaves of a document that are neither text nor truth values. */
function figures(value: unknown): unknown[] {
  if (typeof value === "object" && value !== null) return Object.values(value).flatMap(figures);
  return typeof value === "string" || typeof value === "boolean" ? [] : [value];
}

describe("stats.json", () => {
  test("holds every field of the contract", () => {
    expect(statsDocument(exampleSource())).toMatchObject({
      version: "0.1.0",
      uptime_us: 7_500_000_000,
      transport: "dev",
      io: "uring",
      device: { class: "hdd", reason: "8:1 (sda1) -> sda, queue/rotational is 1" },
      durability: "sync",
      loss_window_us: 5_000_000,
      policy: "sweep",
      writes: {
        requests: 7_000,
        bytes: 40_960_000,
        blocks: 10_000,
        absorbed_rewrite_blocks: 3_000,
        absorbed_discard_blocks: 500,
        delayed_requests: 12,
        delayed_us: 34_567,
      },
      reads: { requests: 800, bytes: 3_276_800, hit_blocks: 200, miss_blocks: 600 },
      flushes: { requests: 25, home: 20, commits: 0, journal_bytes: 0, latency_us: { p50: 0, p99: 0, max: 0 } },
      journal: {
        bytes: 1_073_733_632,
        used_bytes: 12_345_344,
        commits_live: 17,
        uncommitted_blocks: 222,
        state: "ok",
      },
      writeback: { ios: 130, blocks: 5_200, bytes: 21_299_200, errors: 2, mean_run_blocks: 40, inflight: 4 },
      dirty: { bytes: 5_324_800, blocks: 1_300, limit_bytes: 858_992_640, oldest_us: 3_200_001, seconds_to_clean: 6 },
      slab: { bytes: 1_083_179_008, frames: 262_144, free_frames: 260_000, metadata_bytes: 9_437_184 },
      latency_us: { write: { p50: 24, p99: 1_500, max: 1_500 }, read: { p50: 320, p99: 90_001, max: 90_001 } },
      engine: { pid: 4_711, restarts: 2, cpu_us: 4_000_000, resident_bytes: 83_886_080 },
    });
  });

  test("is integers throughout, also at the start, when nothing was counted", () => {
    const empty = exampleSource({
      counters: new Counters(new Float64Array(1024)),
      dirtyBlocks: 0,
      drainBytesPerSecond: 0,
    });
    for (const source of [exampleSource(), empty]) {
      const found = figures(statsDocument(source));
      expect(found.length).toBeGreaterThan(40);
      expect(found.filter((value) => !Number.isSafeInteger(value))).toEqual([]);
    }
  });

  test("tells a journal that has failed from one that is not there", () => {
    const journal = exampleSource().journal!;
    const stateOf = (source: Parameters<typeof exampleSource>[0]): string =>
      statsDocument(exampleSource(source)).journal.state;
    expect([
      stateOf({}),
      stateOf({ journal: undefined }),
      stateOf({ journal: { ...journal, hasFailed: true } }),
    ]).toEqual(["ok", "none", "failed"]);
  });

  test("accounts for every block written: absorbed, home or dirty", () => {
    expect(unaccountedBlocks(statsDocument(exampleSource()))).toBe(0);
    const slots = [
      Counter.writeBlocks,
      Counter.absorbedRewriteBlocks,
      Counter.absorbedDiscardBlocks,
      Counter.writebackBlocks,
    ];
    const gaps = slots.map((slot) => {
      const counters = exampleCounters();
      counters.add(slot, 1);
      return unaccountedBlocks(statsDocument(exampleSource({ counters })));
    });
    expect(gaps).toEqual([1, -1, -1, -1]);
    expect(unaccountedBlocks(statsDocument(exampleSource({ dirtyBlocks: 1_299 })))).toBe(1);
  });

  test("seconds_to_clean is 0 when nothing is dirty and -1 while the rate is unknown", () => {
    const seconds = (dirtyBlocks: number, drainBytesPerSecond: number): number =>
      statsDocument(exampleSource({ dirtyBlocks, drainBytesPerSecond })).dirty.seconds_to_clean;
    expect([seconds(0, 0), seconds(0, 500), seconds(1, 0), seconds(1, 1e9), seconds(10, 4096)]).toEqual([
      0, 0, -1, 1, 10,
    ]);
  });

  test("a mean run is at least one block once there was a home write", () => {
    const counters = exampleCounters();
    counters.at[Counter.writebackBytes] = 130 * 512;
    expect(statsDocument(exampleSource({ counters })).writeback.mean_run_blocks).toBe(1);
  });
});

describe("images.json", () => {
  test("lists most dirty images first, equals by path", () => {
    const { images } = imagesDocument([image("b", 5), image("c", 9), image("a", 5)]);
    expect(images.map(({ path }) => path)).toEqual(["c", "a", "b"]);
  });

  test("gives each image's dirty data, its writes in flight and its error", () => {
    const failing = image("vm/one.raw", 3, { oldestUs: 1_000.6, inflight: 2, failing: true, lastError: "EIO" });
    expect(imagesDocument([failing])).toEqual({
      images: [
        {
          path: "vm/one.raw",
          size_bytes: 1 << 30,
          dirty: { blocks: 3, bytes: 12_288, oldest_us: 1_001 },
          inflight: 2,
          failing: true,
          stalled: false,
          last_error: "EIO",
        },
      ],
    });
  });

  test("shows names that are UTF-8 as such", () => {
    const path = Buffer.from("Grüße.img").toString("latin1");
    expect(imagesDocument([image(path, 0)]).images[0]!.path).toBe("Grüße.img");
  });
});

test("renderJson ends with a line feed and keeps the order of keys", () => {
  expect(renderJson({ b: 1, a: { c: "x" } })).toBe('{\n  "b": 1,\n  "a": {\n    "c": "x"\n  }\n}\n');
});
