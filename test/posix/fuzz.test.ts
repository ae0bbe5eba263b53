/**
 * Random operations against a model, with the engine killed meanwhile. Longer or other runs by hand, one JSON object a run:
 * HYPEGEAR_FUZZ='[{"seed":7,"seconds":600,"args":["--cache-size","8M","--io","threads"]}]' npm test -- test/posix/fuzz.test.ts
 */
import { expect, test } from "vitest";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { testScope } from "../support/scope.ts";
import { type FuzzOptions, fuzz } from "./fuzz.ts";

const DEFAULTS: FuzzOptions = {
  seed: 1,
  rounds: Number.MAX_SAFE_INTEGER,
  seconds: 10,
  hands: 3,
  fileMiB: 6,
  truncates: 5,
  killMs: 1200,
  args: ["--cache-size", "8M"],
};

const EVERY_RUN: Partial<FuzzOptions>[] = [
  { seed: 1, rounds: 1500, killMs: 0 },
  { seed: 2, rounds: 1500 },
  { seed: 3, rounds: 1500, hands: 1, args: ["--cache-size", "8M", "--durability", "volatile", "--max-age", "1"] },
  {
    seed: 5,
    rounds: 1500,
    fileMiB: 1,
    truncates: 60,
    killMs: 400,
    args: ["--cache-size", "16M", "--durability", "volatile"],
  },
  { seed: 4, rounds: 1500, args: ["--cache-size", "8M", "--io", "threads"] },
];

const given = process.env["HYPEGEAR_FUZZ"];
const runs = given === undefined ? EVERY_RUN : (JSON.parse(given) as Partial<FuzzOptions>[]);

/** Beside the run itself: mounting, and taking everything home. */
const MARGIN_MS = 120_000;

for (const run of runs) {
  const options = { ...DEFAULTS, ...run };
  test(`every read gives what the model gives, and so does home in the end: ${JSON.stringify(run)}`, {
    timeout: options.seconds * 1000 + MARGIN_MS,
  }, async (context) => {
    need(context, "root", "/dev/fuse", "gcc");
    const again = `rerun: HYPEGEAR_FUZZ='${JSON.stringify([run])}' npm test -- test/posix/fuzz.test.ts`;
    const { args, backing } = options;
    const daemon = await mountHypegear({ args, ...(backing === undefined ? {} : { backing }) });
    const outcome = await fuzz(options, daemon, testScope).catch((error: unknown) => {
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${again}`, { cause: error });
    });
    console.log(`seed ${options.seed}: ${JSON.stringify(outcome)}`);
    expect(outcome.operations).toBeGreaterThan(options.hands * 10);
  });
}
