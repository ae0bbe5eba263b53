import { spawn } from "node:child_process";
import { describe, expect, test } from "vitest";
import { PARTS, readOptions, UsageError } from "../../bench/options.ts";
import { cpuUsBetween, processTree, readCpu } from "../../bench/support/cpu.ts";
import { ratioSpread, spreadOf } from "../../bench/support/spread.ts";
import { figure, renderTable } from "../../bench/support/table.ts";
import { testScope } from "../support/scope.ts";
import { waitFor } from "../support/wait.ts";

describe("spread", () => {
  test("the median of an odd count is the middle value, of an even count the mean of the middle two", () => {
    expect(spreadOf([9, 1, 5])).toEqual({ median: 5, min: 1, max: 9 });
    expect(spreadOf([4, 1, 3, 2])).toEqual({ median: 2.5, min: 1, max: 4 });
  });

  test("ratios are taken round by round, so a round that was slow for both does not count against either", () => {
    expect(ratioSpread([100, 10, 100], [50, 5, 50])).toEqual({ median: 2, min: 2, max: 2 });
  });

  test("a round that one side failed is left out, and without a common round there is no ratio", () => {
    expect(ratioSpread([100, null, 30], [50, 5, 10])).toEqual({ median: 2.5, min: 2, max: 3 });
    expect(ratioSpread([100], [null])).toBeNull();
    expect(ratioSpread([], [])).toBeNull();
  });
});

describe("table", () => {
  test("figures keep three digits whatever their size", () => {
    expect([0.8125, 43.21, 812.4, 4312, 57_210, 235_400].map(figure)).toEqual([
      "0.81",
      "43.2",
      "812",
      "4.31k",
      "57.2k",
      "235k",
    ]);
  });

  test("columns are as wide as their widest cell and right-aligned but for the first", () => {
    expect(renderTable(["", "IOPS"], [["hypegear", "9"]])).toBe("            IOPS\n  hypegear     9\n");
  });
});

describe("cpu", () => {
  test("a process that spins is charged for it, its parent's tree included", async () => {
    const child = spawn("sh", ["-c", "while :; do :; done & wait"], { stdio: "ignore", detached: true });
    testScope(() => process.kill(-child.pid!, "SIGKILL"));
    const tree = await waitFor("the spinning child", () => {
      const pids = processTree(child.pid!);
      return pids.length === 2 ? pids : undefined;
    });
    const before = readCpu(tree);
    await waitFor("some CPU time", () => cpuUsBetween(before, readCpu(tree)) > 50_000);
    expect(readCpu(tree).ticks).toBeGreaterThan(0);
  });

  test("the time of a thread that ended is taken from the ticks", () => {
    const before = { threadNs: 5e9, ticks: 500, processes: 1 };
    expect(cpuUsBetween(before, { threadNs: 1e9, ticks: 602, processes: 1 })).toBe(1_000_000);
    expect(cpuUsBetween(before, { threadNs: 6.004e9, ticks: 601, processes: 1 })).toBe(1_004_000);
  });
});

describe("options", () => {
  test("without arguments: everything, five rounds, a cache four times the image", () => {
    const options = readOptions([])!;
    expect(options).toMatchObject({ parts: [...PARTS], rounds: 5, pin: null, seed: 1, engine: "libaio" });
    expect(options.cacheBytes).toBe(4 * options.imageBytes);
    expect(options.servers).toContain("hypegear");
    expect(options.workloads).toHaveLength(7);
  });

  test("--only picks servers and workloads; naming none of a kind means all of it", () => {
    const options = readOptions(["speed", "--only", "c,hypegear"])!;
    expect(options.servers).toEqual(["hypegear", "c"]);
    expect(options.workloads).toHaveLength(7);
    expect(readOptions(["--only", "1m-write-qd4"])!.workloads).toEqual(["1m-write-qd4"]);
  });

  test.each([
    [["--rounds", "0"], "--rounds must be 1 to 1000: received 0"],
    [["--seconds", "x"], "--seconds must be 0.1 to 600: received x"],
    [["--only", "nfs"], '--only knows no "nfs"'],
    [["--engine", "psync"], "--engine must be libaio or io_uring: received psync"],
    [["fast"], 'there is no "fast" to measure: speed, ls, idle, durability, recovery, rotating'],
  ])("%j is refused with what is wrong", (args, message) => {
    expect(() => readOptions(args)).toThrow(new UsageError(message));
  });
});
