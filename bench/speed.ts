/** hypegear and its peers on workloads that never flush. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import type { Options } from "./options.ts";
import { SERVERS } from "./servers/all.ts";
import type { RunningServer, Server } from "./servers/server.ts";
import type { Cleanup } from "./support/cleanup.ts";
import { cpuUsBetween, processTree, readCpu } from "./support/cpu.ts";
import { type FioJob, runFio } from "./support/fio.ts";
import { Unavailable } from "./support/process.ts";
import { takeTurns } from "./support/turns.ts";
import { WORKLOADS, type Workload } from "./workloads.ts";

export interface Sample {
  iops: number;
  /** Microseconds on a CPU of the server's processes for each operation; null when there is no server. */
  cpuUs: number | null;
  latencyUs: { mean: number; p99: number } | null;
}

/** All samples of one server: `samples[workload][round]`, null where it failed. */
export interface Series {
  server: Server;
  samples: Map<string, (Sample | null)[]>;
  remark: string | null;
}

export interface SpeedResult {
  series: Series[];
  /** Peers that did not take part, or not to the end, and why. */
  missing: { server: string; reason: string }[];
}

interface Contestant extends Series {
  running: RunningServer;
}

class SpeedBench {
  private readonly contestants: Contestant[] = [];
  private readonly missing: { server: string; reason: string }[] = [];
  private readonly workloads: Workload[];
  private readonly options: Options;
  private readonly cleanup: Cleanup;
  private readonly say: (line: string) => void;

  constructor(options: Options, cleanup: Cleanup, say: (line: string) => void) {
    this.options = options;
    this.cleanup = cleanup;
    this.say = say;
    this.workloads = WORKLOADS.filter((workload) => options.workloads.includes(workload.name));
  }

  async run(scratch: string): Promise<SpeedResult> {
    for (const server of SERVERS.filter((entry) => this.options.servers.includes(entry.name))) {
      await this.enter(server, scratch);
    }
    await takeTurns(
      this.options.rounds,
      this.workloads,
      this.contestants,
      this.say,
      async (contestant, workload, round) => {
        contestant.samples.get(workload.name)!.push(await this.sample(contestant, workload, round));
      },
    );
    for (const contestant of this.contestants) contestant.remark = this.ask(contestant);
    return { series: this.contestants, missing: this.missing };
  }

  /** Starts a server and writes its whole file once, so that it starts warm: hypegear's cache then holds all of it. */
  private async enter(server: Server, scratch: string): Promise<void> {
    const directory = join(scratch, server.name);
    mkdirSync(directory);
    try {
      const running = await server.start({ ...this.options, directory, cleanup: this.cleanup });
      await runFio({ ...this.job(running, WORKLOADS.find((w) => w.rw === "write")!, 0), seconds: null });
      const samples = new Map(this.workloads.map((workload) => [workload.name, []]));
      this.contestants.push({ server, running, samples, remark: null });
    } catch (error) {
      this.drop(server, error instanceof Unavailable ? error.message : String(error));
    }
  }

  /** The server's own word on the run; one that has died since has said enough by it. */
  private ask({ running }: Contestant): string | null {
    try {
      return running.remark?.() ?? null;
    } catch (error) {
      return String(error);
    }
  }

  private drop(server: Server, reason: string): void {
    this.missing.push({ server: server.name, reason });
    this.say(`${server.name}: not measured: ${reason}`);
  }

  private async sample(contestant: Contestant, workload: Workload, round: number): Promise<Sample | null> {
    try {
      return await this.measure(contestant.running, workload, round);
    } catch (error) {
      this.drop(contestant.server, `${workload.title}, round ${round + 1}: ${String(error)}`);
      return null;
    }
  }

  private async measure(running: RunningServer, workload: Workload, round: number): Promise<Sample> {
    const job = this.job(running, workload, round);
    await runFio({ ...job, seconds: this.options.warmUpSeconds });
    const processes = running.pid === null ? [] : processTree(running.pid);
    const before = readCpu(processes);
    const { iops, operations, latencyUs } = await runFio(job);
    const cpuUs = running.pid === null ? null : cpuUsBetween(before, readCpu(processes)) / operations;
    return { iops, cpuUs, latencyUs };
  }

  private job(running: RunningServer, workload: Workload, round: number): FioJob {
    const { imageBytes, engine, seconds, seed, pin } = this.options;
    const { rw, blockSize, depth } = workload;
    const request = { files: [running.file], bytes: imageBytes, rw, blockSize, depth, flushEvery: 0 };
    return { ...request, engine, seconds, seed: seed + round, pin, interrupted: this.cleanup.interrupted };
  }
}

/** Starts the servers below `scratch`, measures, and leaves stopping them to `cleanup`. */
export const measureSpeed = (
  options: Options,
  scratch: string,
  cleanup: Cleanup,
  say: (line: string) => void,
): Promise<SpeedResult> => new SpeedBench(options, cleanup, say).run(scratch);
