import { expect, test } from "vitest";
import { Counter } from "../../src/stats/counters.ts";
import { statsDocument } from "../../src/stats/document.ts";
import type { StatsSource } from "../../src/stats/source.ts";
import { renderText } from "../../src/stats/text.ts";
import { exampleCounters, exampleSource } from "./example.ts";

/** The rendered line that starts with `label`. */
function line(label: string, changes: Partial<StatsSource>): string | undefined {
  const text = renderText(statsDocument(exampleSource(changes)));
  return text.split("\n").find((candidate) => candidate.startsWith(label));
}

test("the text is one screen, with what matters first", () => {
  expect(renderText(statsDocument(exampleSource()))).toBe(`\
hypegear 0.1.0 on /srv/images (/data/images), up 2 h 5 min
sync, policy sweep, transport dev, io uring
hdd: 8:1 (sda1) -> sda, queue/rotational is 1

dirty     5.1 MiB of 819 MiB (1 %), oldest 3.2 s, home in 6.0 s
failing   nothing (2 home writes failed so far)
pressure  none (so far 12 writes delayed for 35 ms)
absorbed  35 % of what was written never went to the device: 14 MiB
blocks    10,000 written = 3,000 rewritten + 500 discarded + 5,200 home + 1,300 dirty

latency          p50       p99       max
  write        24 us    1.5 ms    1.5 ms
  read        320 us     90 ms     90 ms
  flush            -         -         -

writes    7,000 requests, 39 MiB
reads     800 requests, 3.1 MiB, 25 % of the blocks from the cache
flushes   25 requests, 20 by going home
journal   12 MiB of 1.0 GiB in 17 commits, 222 dirty blocks not in it
home      130 writes, 20 MiB, 40 blocks each, 977 KiB/s, 4 in flight
cache     1.0 GiB, 1016 MiB free, 9.0 MiB of tables
engine    pid 4711, 2 restarts, 4.0 s of CPU, 80 MiB resident
`);
});

test("a mount over itself names its directory once", () => {
  expect(line("hypegear", { backing: "/srv/images" })).toBe("hypegear 0.1.0 on /srv/images, up 2 h 5 min");
});

test("a clean cache says that everything is home", () => {
  expect(line("dirty", { dirtyBlocks: 0 })).toBe("dirty     0 B of 819 MiB (0 %): everything is home");
});

test("an unknown drain rate is called unknown", () => {
  expect(line("dirty", { drainBytesPerSecond: 0 })).toContain("home in an unknown time");
});

test("failing images stand out", () => {
  expect(line("failing", { failingImages: 1 })).toBe(
    "failing   1 IMAGE CANNOT BE WRITTEN HOME (2 home writes failed so far): data kept and retried, see images.json",
  );
  expect(line("failing", { failingImages: 8 })).toContain("8 IMAGES CANNOT BE WRITTEN HOME");
});

test("so do stalled ones, beside those that fail", () => {
  expect(line("failing", { stalledImages: 1 })).toBe(
    "failing   1 IMAGE WITHOUT AN ANSWER OF THE DEVICE: data kept, other devices are served, see images.json",
  );
  expect(line("failing", { failingImages: 1, stalledImages: 2 })).toMatch(
    /CANNOT BE WRITTEN HOME.*; 2 IMAGES WITHOUT AN ANSWER/,
  );
});

test("pressure shows the delay of a write now, and how many wait", () => {
  expect(line("pressure", { delayUs: 1_234, waitingWrites: 3 })).toBe(
    "pressure  1.2 ms a write, 3 waiting (so far 12 writes delayed for 35 ms)",
  );
});

test("blocks that nobody accounts for are shown", () => {
  expect(line("blocks", { dirtyBlocks: 1_290 })).toMatch(/ 1,290 dirty \(10 unaccounted\)$/);
});

test("commits are shown once there is a journal", () => {
  const counters = exampleCounters();
  counters.at[Counter.commits] = 5;
  counters.at[Counter.journalBytes] = 1_048_576;
  expect(line("flushes", { counters })).toBe("flushes   25 requests, 20 by going home, 5 commits of 1.0 MiB");
});

test("a mount without a journal, or with one that has failed, says what flushes do", () => {
  expect(line("journal", { journal: undefined })).toBe("journal   none: flushes take their image home");
  const journal = { ...exampleSource().journal!, hasFailed: true };
  expect(line("journal", { journal })).toBe(
    "journal   FAILED, and given up: flushes take their image home, see the log",
  );
});

test("the mode ordered is shown with its window", () => {
  expect(line("ordered", { durability: "ordered" })).toBe("ordered every 5.0 s, policy sweep, transport dev, io uring");
});
