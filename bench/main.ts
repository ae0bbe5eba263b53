/** `npm run bench`: measures hypegear beside its peers and prints tables. It asserts nothing: a figure is not a test. */
import { writeFileSync } from "node:fs";
import { cpus, loadavg, release, totalmem } from "node:os";
import { resolve } from "node:path";
import { durabilityReport, measureDurability, targetRatios } from "./durability.ts";
import { idleReport, measureIdle } from "./idle.ts";
import { lsReport, measureLs } from "./ls.ts";
import { type Options, type Part, readOptions, USAGE, UsageError } from "./options.ts";
import { measureReplay, replayReport } from "./replay.ts";
import { measureRestart, restartReport } from "./restart.ts";
import { measureRotating, rotatingReport } from "./rotating.ts";
import { measureSpeed, type SpeedResult } from "./speed.ts";
import { goalRatios, speedReport } from "./speed-report.ts";
import { type Cleanup, withCleanup } from "./support/cleanup.ts";
import { filesystemType } from "./support/mounts.ts";
import { makeScratch } from "./support/scratch.ts";

const say = (text: string): void => void process.stdout.write(text);
const progress = (line: string): void => void process.stderr.write(`bench: ${line}\n`);

function machine(scratch: string): Record<string, string | number> {
  return {
    kernel: release(),
    node: process.version,
    cpus: cpus().length,
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    filesystem: filesystemType(scratch),
    load: loadavg()[0]!.toFixed(1),
  };
}

function describeRun(options: Options, scratch: string): string {
  const facts = Object.entries(machine(scratch)).map(([name, value]) => `${name} ${value}`);
  const where = options.pin === null ? "unpinned" : `servers and client on CPU ${options.pin}`;
  return (
    `${facts.join(", ")}\n${options.rounds} rounds, ${options.seconds} s each, ${options.imageBytes / 2 ** 20} MiB, ` +
    `fio ${options.engine} O_DIRECT, seed ${options.seed}, ${where}; figures are median (min-max)\n\n`
  );
}

/** Samples as plain objects, for the file. */
const plainSpeed = (result: SpeedResult) => ({
  missing: result.missing,
  goals: goalRatios(result),
  servers: result.series.map(({ server, samples, remark }) => ({
    name: server.name,
    about: server.about,
    remark,
    samples: Object.fromEntries(samples),
  })),
});

/** Each part: measures, prints, and returns what the JSON file keeps. */
const PARTS: Record<Part, (options: Options, scratch: string, cleanup: Cleanup) => Promise<unknown>> = {
  speed: async (options, scratch, cleanup) => {
    const result = await measureSpeed(options, scratch, cleanup, progress);
    say(`${speedReport(result)}\n`);
    return plainSpeed(result);
  },
  ls: async (options, scratch, cleanup) => {
    const result = await measureLs(options, scratch, cleanup);
    say(`${lsReport(result)}\n`);
    return result;
  },
  idle: async (options, scratch, cleanup) => {
    const result = await measureIdle(options, scratch, cleanup);
    say(`${idleReport(result)}\n`);
    return result;
  },
  durability: async (options, scratch, cleanup) => {
    const result = await measureDurability(options, scratch, cleanup, progress);
    say(`${durabilityReport(result)}\n`);
    return { ...result, targets: targetRatios(result) };
  },
  recovery: async (options, scratch, cleanup) => {
    const restart = await measureRestart(options, scratch, cleanup);
    say(`${restartReport(restart)}\n`);
    const replay = await replayIfPossible(options, scratch, cleanup);
    say(
      typeof replay === "string" ? `  not measured: replay of a journal: ${replay}\n\n` : `${replayReport(replay)}\n`,
    );
    return { restart, replay };
  },
  rotating: (options) => {
    const gains = measureRotating(options.seed);
    say(`${rotatingReport(gains)}\n`);
    return Promise.resolve(gains);
  },
};

/** The result, or why there is none: a build without the journal still has an engine to restart. */
async function replayIfPossible(
  options: Options,
  scratch: string,
  cleanup: Cleanup,
): Promise<Awaited<ReturnType<typeof measureReplay>> | string> {
  try {
    return await measureReplay(options, scratch, cleanup);
  } catch (error) {
    return (error as Error).message.trim();
  }
}

/** Every part has its own servers, gone before the next one starts. False if it could not be measured. */
async function runPart(part: Part, options: Options, kept: Record<string, unknown>): Promise<boolean> {
  try {
    kept[part] = await withCleanup(async (cleanup) => {
      const scratch = makeScratch(resolve(options.directory), cleanup);
      kept["machine"] ??= machine(scratch);
      if (Object.keys(kept).length === 1) say(describeRun(options, scratch));
      return PARTS[part](options, scratch, cleanup);
    });
    return true;
  } catch (error) {
    process.stderr.write(`bench: ${part}: not measured: ${(error as Error).message}\n`);
    return false;
  }
}

async function main(args: string[]): Promise<number> {
  const options = readOptions(args);
  if (options === null) {
    say(USAGE);
    return 0;
  }
  const kept: Record<string, unknown> = {};
  let complete = true;
  for (const part of options.parts) complete = (await runPart(part, options, kept)) && complete;
  if (options.json !== null) writeFileSync(options.json, `${JSON.stringify({ options, ...kept }, null, 2)}\n`);
  return complete ? 0 : 1;
}

try {
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  process.stderr.write(error instanceof UsageError ? `bench: ${error.message}\n${USAGE}` : `bench: ${String(error)}\n`);
  process.exitCode = error instanceof UsageError ? 2 : 1;
}
