/** The bench at its smallest, so that it still runs when it is needed. Alone, like all tests that mount (support/daemon.ts). */
import { spawn } from "node:child_process";
import { mkdirSync, readdirSync, readFileSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, type TestContext, test } from "vitest";
import { FLUSH_WORKLOADS } from "../../bench/durability.ts";
import { DURABLE_SERVERS } from "../../bench/durability-servers.ts";
import { SERVERS } from "../../bench/servers/all.ts";
import type { Sample } from "../../bench/speed.ts";
import { WORKLOADS } from "../../bench/workloads.ts";
import { MARK } from "../support/marks.ts";
import { mounts } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { type Outcome, type RunOptions, run, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";

const BENCH = fileURLToPath(new URL("../../dist/bench/main.js", import.meta.url));
const TIMEOUT_MS = 240_000;

const bench = (directory: string, args: string[], options: RunOptions = {}): Promise<Outcome> =>
  run(process.execPath, [BENCH, ...args, "--smoke", "--directory", directory], { timeout: TIMEOUT_MS, ...options });

const mountsBelow = (directory: string) => mounts().filter(({ mountpoint }) => mountpoint.startsWith(`${directory}/`));

function expectNothingLeft(directory: string): void {
  expect(mountsBelow(directory)).toEqual([]);
  expect(readdirSync(directory)).toEqual([]);
}

const needTools = (context: TestContext): void =>
  need(context, "root", "/dev/fuse", "fio", "gcc", "pkg-config", "qemu-storage-daemon", "setpriv", "taskset");

interface SpeedFile {
  speed: {
    missing: unknown[];
    goals: { goal: string; ratio: unknown }[];
    servers: { name: string; remark: string | null; samples: Record<string, Sample[]> }[];
  };
}

test(
  "the smoke size measures every workload on every server and leaves nothing behind",
  async (context) => {
    needTools(context);
    const [directory, results] = [scratchDirectory("bench"), join(scratchDirectory("results"), "bench.json")];
    const outcome = await bench(directory, ["speed", "--json", results]);
    expect(outcome.stderr).not.toContain("not measured");
    expect(outcome.code).toBe(0);
    expectNothingLeft(directory);
    const { speed } = JSON.parse(readFileSync(results, "utf8")) as SpeedFile;
    expect(speed.missing).toEqual([]);
    expect(speed.servers.map(({ name }) => name)).toEqual(SERVERS.map(({ name }) => name));
    for (const { name, samples } of speed.servers) {
      for (const workload of WORKLOADS) {
        const [sample] = samples[workload.name]!;
        expect(sample!.iops, `${name}, ${workload.title}`).toBeGreaterThan(0);
        expect(sample!.cpuUs === null, `${name} has a server process`).toBe(name === "backing");
        expect(sample!.latencyUs !== null, `${name}, latency of ${workload.title}`).toBe(workload.depth === 1);
      }
    }
    for (const { goal, ratio } of speed.goals) expect(ratio, goal).not.toBeNull();
    expect(outcome.stdout).toContain("wanted");
  },
  TIMEOUT_MS,
);

test("listing and idle cost are measured and leave nothing behind", async (context) => {
  need(context, "root", "/dev/fuse", "setpriv");
  const directory = scratchDirectory("bench");
  const outcome = await bench(directory, ["ls", "idle"]);
  expect(outcome.stderr).toBe("");
  expect(outcome.code).toBe(0);
  expect(outcome.stdout).toMatch(/mount \/ plain \d/);
  expect(outcome.stdout).toMatch(/engine \(process \d+\): \d+ ticks/);
  expectNothingLeft(directory);
});

interface DurabilityFile {
  durability: {
    missing: { server: string; reason: string }[];
    targets: { what: string; ratio: unknown }[];
    series: { name: string; iops: Record<string, (number | null)[]> }[];
  };
}

test(
  "durability: every server is measured flushing, and a mode that this build refuses is named with the reason",
  async (context) => {
    needTools(context);
    const [directory, results] = [scratchDirectory("bench"), join(scratchDirectory("results"), "bench.json")];
    const outcome = await bench(directory, ["durability", "--json", results]);
    expect(outcome.code).toBe(0);
    expectNothingLeft(directory);
    const { durability } = JSON.parse(readFileSync(results, "utf8")) as DurabilityFile;
    for (const { server, reason } of durability.missing) {
      expect(server).toBe("ordered");
      expect(reason).toMatch(/journal/);
    }
    const measured = [...durability.series, ...durability.missing.map(({ server }) => ({ name: server }))];
    expect(measured.map(({ name }) => name).toSorted()).toEqual(DURABLE_SERVERS.map(({ name }) => name).toSorted());
    for (const { name, iops } of durability.series) {
      for (const { name: workload, flushEvery } of FLUSH_WORKLOADS) {
        if (flushEvery > 0) expect(iops[workload]![0], `${name}, ${workload}`).toBeGreaterThan(0);
      }
    }
    for (const { what, ratio } of durability.targets) {
      if (what.startsWith("sync")) expect(ratio, what).not.toBeNull();
    }
  },
  TIMEOUT_MS,
);

test(
  "recovery: the engine is killed and waited for, and a journal goes home or the reason why none does is told",
  async (context) => {
    needTools(context);
    const directory = scratchDirectory("bench");
    const outcome = await bench(directory, ["recovery"]);
    expect(outcome.stderr).toBe("");
    expect(outcome.code).toBe(0);
    expect(outcome.stdout).toMatch(/longest wait of a 4k read or write: \d/);
    expect(outcome.stdout).toMatch(/recover takes \d|not measured: replay of a journal: .*--journal-size/);
    expectNothingLeft(directory);
  },
  TIMEOUT_MS,
);

test("a peer that cannot be built is named with the reason, and the others are measured", async (context) => {
  needTools(context);
  const [directory, tools] = [scratchDirectory("bench"), scratchDirectory("tools")];
  const folder = join(tools, "bin");
  mkdirSync(folder);
  for (const tool of ["fio", "setpriv", "umount"]) {
    const path = (await succeed("sh", ["-c", `command -v ${tool}`])).trim();
    symlinkSync(path, join(folder, tool));
  }
  const outcome = await bench(directory, ["speed", "--only", "c,backing,4k-write-qd1"], { env: { PATH: folder } });
  expect(outcome.code).toBe(0);
  expect(outcome.stderr).toMatch(/c: not measured: needs gcc, pkg-config and libfuse3-dev/);
  expect(outcome.stdout).toMatch(/^ {2}backing +\d/m);
  expectNothingLeft(directory);
});

test("a bench that is told to end in the middle takes its mounts and files with it", async (context) => {
  needTools(context);
  const directory = scratchDirectory("bench");
  const args = [BENCH, "speed", "--smoke", "--seconds", "60", "--only", "c,4k-write-qd32", "--directory", directory];
  const child = spawn(process.execPath, args, {
    stdio: ["ignore", "ignore", "pipe"],
    env: { ...process.env, ...MARK },
  });
  testScope(() => child.kill("SIGKILL"));
  let said = "";
  child.stderr.on("data", (chunk) => (said += String(chunk)));
  await waitFor("the first round", () => said.includes("round 1") && mountsBelow(directory).length === 1);
  child.kill("SIGTERM");
  await waitFor("the end of the bench", () => child.exitCode !== null);
  expect(child.exitCode).toBe(143);
  expectNothingLeft(directory);
});
