import { describe, expect, it } from "vitest";
import { ExitCode, Failure } from "../../src/base/errors.ts";
import { formatDuration, formatSize, parseChoice, parseDuration, parseShare, parseSize } from "../../src/base/size.ts";

const sizes = { min: 8 * 2 ** 20, max: 64 * 2 ** 30 };

/** The failure that `run` throws. */
function failureOf(run: () => unknown): Failure {
  try {
    run();
  } catch (error) {
    if (error instanceof Failure) return error;
  }
  throw new Error("nothing was refused");
}

describe("parseSize", () => {
  it.each([
    ["8M", 8 * 2 ** 20],
    ["1G", 2 ** 30],
    ["1.5GiB", 1.5 * 2 ** 30],
    ["16384k", 2 ** 24],
    ["16777216", 2 ** 24],
    ["64G", 2 ** 36],
  ])("reads %s as %d bytes", (text, bytes) => {
    expect(parseSize(text, "cache size", sizes)).toBe(bytes);
  });

  it.each([
    ["-1", "not a size"],
    ["12Q", "not a size"],
    ["", "not a size"],
    ["1e9", "not a size"],
    ["0x10", "not a size"],
    ["0", "too small"],
    ["1", "too small"],
    ["99999T", "too large"],
    ["9".repeat(400), "too large"],
  ])("refuses %s as a usage error that says why and names the bounds", (text, why) => {
    const failure = failureOf(() => parseSize(text, "cache size", sizes));
    expect(failure.exitCode).toBe(ExitCode.usage);
    expect(failure.message).toBe(`cache size "${text}": ${why}; give 8M to 64G`);
  });

  it("takes 0 only where 0 has a meaning", () => {
    expect(parseSize("0", "rate limit", { ...sizes, zero: "no limit" })).toBe(0);
    expect(failureOf(() => parseSize("1", "rate limit", { ...sizes, zero: "no limit" })).message).toContain(
      "or 0 (no limit)",
    );
  });
});

describe("parseDuration", () => {
  it.each([
    ["5", 5],
    ["5s", 5],
    ["250ms", 0.25],
    ["2m", 120],
    ["1.5h", 5400],
  ])("reads %s as %d seconds", (text, seconds) => {
    expect(parseDuration(text, "age", { min: 0.1, max: 86400 })).toBe(seconds);
  });

  it("refuses an unknown unit", () => {
    expect(failureOf(() => parseDuration("5y", "age", { min: 1, max: 60 })).message).toBe(
      'age "5y": not a duration; give 1s to 1m',
    );
  });
});

describe("parseShare", () => {
  it("reads a percentage and a fraction as the same share", () => {
    expect(parseShare("80%", "limit", { min: 0.05, max: 0.95 })).toBe(0.8);
    expect(parseShare("0.8", "limit", { min: 0.05, max: 0.95 })).toBe(0.8);
  });

  it("refuses a bare number of percent instead of guessing", () => {
    expect(failureOf(() => parseShare("80", "limit", { min: 0.05, max: 0.95 })).message).toContain(
      "too large; give 5% to 95%",
    );
  });
});

describe("parseChoice", () => {
  it("lists the choices when it refuses", () => {
    expect(parseChoice("hdd", "device", ["hdd", "ssd"])).toBe("hdd");
    expect(failureOf(() => parseChoice("tape", "device", ["hdd", "ssd"])).message).toBe(
      'device "tape": no such choice; give one of hdd, ssd',
    );
  });
});

describe("format", () => {
  it("shows sizes and durations in the largest fitting unit", () => {
    expect([0, 512, 2 ** 20, 1.5 * 2 ** 30].map(formatSize)).toEqual(["0", "512", "1M", "1.5G"]);
    expect([0, 0.25, 5, 5400].map(formatDuration)).toEqual(["0s", "250ms", "5s", "1.5h"]);
  });
});
