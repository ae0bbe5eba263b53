import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { statsDocument } from "../../src/stats/document.ts";
import { renderPrometheus } from "../../src/stats/prometheus.ts";
import type { StatsSource } from "../../src/stats/source.ts";
import { exampleSource } from "./example.ts";

const render = (changes: Partial<StatsSource> = {}): string => {
  const source = exampleSource(changes);
  return renderPrometheus(statsDocument(source), source.counters);
};

const NAME = "[a-zA-Z_:][a-zA-Z0-9_:]*";
const LABEL = String.raw`[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"`;
const COMMENT = new RegExp(`^# (HELP|TYPE) (${NAME}) (.+)$`);
const SAMPLE = new RegExp(String.raw`^(${NAME})\{(${LABEL}(?:,${LABEL})*)\} (-?[0-9]+(?:\.[0-9]+)?)$`);

interface Parsed {
  types: Map<string, string>;
  samples: Map<string, number>;
}

/** Parses by the grammar of the text format and throws at what it forbids. */
function parse(text: string): Parsed {
  const parsed: Parsed = { types: new Map(), samples: new Map() };
  const helped = new Set<string>();
  let family = "";
  expect(text.endsWith("\n")).toBe(true);
  for (const line of text.slice(0, -1).split("\n")) {
    const [, keyword, name, rest] = COMMENT.exec(line) ?? [];
    if (keyword === "HELP") {
      if (helped.has(name!)) throw new Error(`two HELP lines: ${line}`);
      helped.add((family = name!));
    } else if (keyword === "TYPE") {
      if (name !== family || parsed.types.has(family)) throw new Error(`TYPE out of place: ${line}`);
      if (!["counter", "gauge", "histogram"].includes(rest!)) throw new Error(`unknown type: ${line}`);
      parsed.types.set(family, rest!);
    } else parseSample(line, family, parsed);
  }
  return parsed;
}

function parseSample(line: string, family: string, { types, samples }: Parsed): void {
  const [, name, labels, value] = SAMPLE.exec(line) ?? [];
  if (name === undefined) throw new Error(`no sample: ${line}`);
  const base = types.get(family) === "histogram" ? name.replace(/_(bucket|sum|count)$/, "") : name;
  if (base !== family) throw new Error(`a sample outside its family's group: ${line}`);
  const key = `${name}{${labels}}`;
  if (samples.has(key)) throw new Error(`the same sample twice: ${line}`);
  samples.set(key, Number(value));
}

describe("metrics", () => {
  test("follow the grammar of the text exposition format", () => {
    const { types, samples } = parse(render());
    expect(types.size).toBeGreaterThan(30);
    expect(samples.size).toBeGreaterThan(types.size);
  });

  test("are, for the example, exactly the golden text", () => {
    expect(render()).toBe(readFileSync(new URL("golden/metrics.txt", import.meta.url), "utf8"));
  });

  test("counters end in _total and nothing else does", () => {
    for (const [name, type] of parse(render()).types)
      expect([name, type === "counter"]).toEqual([name, name.endsWith("_total")]);
  });

  test("carry the document's figures", () => {
    const { samples } = parse(render());
    const value = (name: string, labels = ""): number | undefined =>
      samples.get(`${name}{mount="/srv/images"${labels}}`);
    expect(value("hypegear_dirty_blocks")).toBe(1_300);
    expect(value("hypegear_absorbed_blocks_total", ',by="rewrite"')).toBe(3_000);
    expect(value("hypegear_absorbed_blocks_total", ',by="discard"')).toBe(500);
    expect(value("hypegear_home_blocks_total")).toBe(5_200);
    expect(value("hypegear_written_blocks_total")).toBe(10_000);
    expect(value("hypegear_write_delay_seconds_total")).toBe(0.034567);
    expect(value("hypegear_engine_restarts_total")).toBe(2);
    expect(value("hypegear_requests_total", ',op="flush"')).toBe(25);
  });

  test("begin with what runs", () => {
    expect(render().split("\n").slice(0, 3)).toEqual([
      "# HELP hypegear_info Always 1; its labels say what runs.",
      "# TYPE hypegear_info gauge",
      'hypegear_info{mount="/srv/images",version="0.1.0",device="hdd",durability="sync",policy="sweep",transport="dev",io="uring"} 1',
    ]);
  });

  test("histogram buckets are cumulative, end at +Inf, and agree with their count", () => {
    const { samples } = parse(render());
    for (const [op, count, sum] of [
      ["write", 5, 0.001587],
      ["read", 2, 0.090301],
      ["flush", 0, 0],
    ] as const) {
      const labels = `mount="/srv/images",op="${op}"`;
      const name = "hypegear_request_duration_seconds";
      const buckets = [...samples].filter(([key]) => key.startsWith(`${name}_bucket{${labels},`));
      const values = buckets.map(([, value]) => value);
      expect(values).toEqual(values.toSorted((a, b) => a - b));
      expect(buckets.at(-1)).toEqual([`${name}_bucket{${labels},le="+Inf"}`, count]);
      expect([samples.get(`${name}_count{${labels}}`), samples.get(`${name}_sum{${labels}}`)]).toEqual([count, sum]);
    }
  });

  test("a histogram bucket counts what is at most its bound", () => {
    const text = render();
    expect(text).toContain('_bucket{mount="/srv/images",op="write",le="0.000016"} 0\n');
    expect(text).toContain('_bucket{mount="/srv/images",op="write",le="0.000032"} 4\n');
    expect(text).toContain('_bucket{mount="/srv/images",op="write",le="0.002048"} 5\n');
  });

  test("quotes, backslashes and line feeds in a mountpoint are escaped", () => {
    const text = render({ mountpoint: 'a"b\\c\nd' });
    expect(parse(text).samples.get('hypegear_dirty_blocks{mount="a\\"b\\\\c\\nd"}')).toBe(1_300);
  });

  test("the time to clean is absent while it is unknown", () => {
    expect(
      parse(render({ drainBytesPerSecond: 0 })).samples.has('hypegear_seconds_to_clean{mount="/srv/images"}'),
    ).toBe(false);
  });
});
