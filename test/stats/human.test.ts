import { expect, test } from "vitest";
import { humanBytes, humanCount, humanDuration, humanPlural, humanShare } from "../../src/stats/human.ts";

test("bytes show in the unit that leaves them below 1024", () => {
  const shown = [0, 512, 1023, 1024, 1536, 10_189, 1_048_064, 1_048_575, 1 << 30, 2 ** 60, 2 ** 62].map(humanBytes);
  expect(shown).toEqual([
    "0 B",
    "512 B",
    "1023 B",
    "1.0 KiB",
    "1.5 KiB",
    "10 KiB",
    "1.0 MiB",
    "1.0 MiB",
    "1.0 GiB",
    "1024 PiB",
    "4096 PiB",
  ]);
});

test("durations show in the unit that people would use", () => {
  const shown = [0, 999, 1_000, 12_345, 999_499, 999_500, 3_200_000, 99_400_000, 99_500_000, 125 * 60e6, 76 * 3600e6];
  expect(shown.map(humanDuration)).toEqual([
    "0 us",
    "999 us",
    "1.0 ms",
    "12 ms",
    "999 ms",
    "1.0 s",
    "3.2 s",
    "99 s",
    "2 min",
    "2 h 5 min",
    "3 d 4 h",
  ]);
});

test("counts have their thousands apart", () => {
  expect([0, 999, 1_000, 1_234_567, -12_345].map(humanCount)).toEqual(["0", "999", "1,000", "1,234,567", "-12,345"]);
});

test("a share says 0 % and 100 % only when it is none and all", () => {
  const shares = [humanShare(0, 0), humanShare(0, 5), humanShare(1, 1000), humanShare(999, 1000), humanShare(5, 5)];
  expect(shares).toEqual(["0 %", "0 %", "1 %", "99 %", "100 %"]);
});

test("nouns agree with their number", () => {
  expect([0, 1, 2].map((count) => humanPlural(count, "image"))).toEqual(["0 images", "1 image", "2 images"]);
});
