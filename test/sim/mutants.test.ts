import { afterAll, describe, expect, test } from "vitest";
import { blockScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { MutantBuild, TRIAL_MS_MAX } from "./mutants/build.ts";
import { type Mutant, mutated } from "./mutants/mutant.ts";
import { MUTANTS } from "./mutants/table.ts";

const SOUND_SEEDS = 50;

describe("the simulator finds a bug that is put into the program", { timeout: TRIAL_MS_MAX + 10_000 }, () => {
  const build = new MutantBuild(scratchDirectory("mutants", blockScope()));
  const caught: string[] = [];
  afterAll(() => console.log(`seeds that found a bug:\n${caught.join("\n")}`));

  test("and none in the program as it is", async () => {
    expect(await build.trial(SOUND_SEEDS)).toEqual({ seed: undefined, finding: "" });
  });

  test.for(MUTANTS.map((mutant) => [mutant.bug, mutant] as const))("%s", async ([bug, mutant]) => {
    const { seed } = await build.trialOf(mutant);
    if (seed === undefined) expect.fail(`${mutant.seeds} seeds found nothing`);
    caught.push(`${String(seed).padStart(6)} of ${String(mutant.seeds).padStart(4)}  ${bug}`);
  });
});

describe("a mutant", () => {
  const mutant = (find: string): Mutant => ({ bug: "any", file: "src/any.ts", find, replace: "c($&);", seeds: 1 });

  test("takes the place of its text, whatever the white space there", () => {
    expect(mutated("x; a();\n    b(); y;", mutant("a(); b();"))).toBe("x; c($&); y;");
  });

  test.for([
    ["twice", "a(); a();", "is 2 times"],
    ["nowhere", "b();", "is nowhere"],
  ])("that fits %s is refused", ([, text, why]) => {
    expect(() => mutated(text!, mutant("a();"))).toThrow(why);
  });
});

describe("a program that crashes", () => {
  const build = new MutantBuild(scratchDirectory("mutants", blockScope()));
  const crash = (replace: string): Mutant => ({
    bug: "any",
    file: "src/cache/write-cache.ts",
    find: "this.blocks++;",
    replace,
    seeds: 5,
  });

  test.for([
    ["at its start", "(;", "did not start"],
    ["in a history", "nowhere();", "crashed"],
  ])("%s was not found out by the simulator", async ([, replace, why]) => {
    await expect(build.trialOf(crash(replace!))).rejects.toThrow(why);
  });
});
