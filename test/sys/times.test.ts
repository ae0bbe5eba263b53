import { closeSync, openSync, statSync, utimesSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { setModificationTime } from "../../src/sys/times.ts";
import { scratchDirectory } from "../support/scratch.ts";

test("an open file gets its modification time to the nanosecond and keeps its access time", () => {
  const path = join(scratchDirectory(), "file");
  const fd = openSync(path, "w");
  utimesSync(path, 1000, 1000);
  expect(setModificationTime(fd, 1_600_000_000, 123_456_789)).toBe(0);
  closeSync(fd);
  const { atimeNs, mtimeNs } = statSync(path, { bigint: true });
  expect({ atimeNs, mtimeNs }).toEqual({ atimeNs: 1_000_000_000_000n, mtimeNs: 1_600_000_000_123_456_789n });
});

test("a time that no filesystem has is set all the same, to the nearest that it has", () => {
  const path = join(scratchDirectory(), "file");
  const fd = openSync(path, "w");
  for (const seconds of [2 ** 63, Number.MAX_VALUE, -(2 ** 63), -Number.MAX_VALUE]) {
    utimesSync(path, 1000, 1000);
    expect(setModificationTime(fd, seconds, 0)).toBe(0);
    expect(Math.sign(statSync(path).mtimeMs - 1_000_000)).toBe(Math.sign(seconds));
  }
  closeSync(fd);
});
