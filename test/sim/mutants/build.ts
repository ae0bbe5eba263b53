/** A copy of the compiled core and simulator, in which a mutant takes the place of one file for as long as its trial runs. */
import { cpSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run } from "../../support/run.ts";
import { type Mutant, mutated } from "./mutant.ts";

const PROJECT = fileURLToPath(new URL("../../..", import.meta.url));
/** A mutant that turns round for ever shows nothing either: its trial is given up, and fails. */
export const TRIAL_MS_MAX = 110_000;

/** What a finding is when the program merely broke: such a mutant shows nothing of the simulator. */
const CRASH = /^(?:Type|Reference|Syntax|Range)Error\b/;

export interface Verdict {
  /** The first seed that found something; undefined: none did. */
  seed: number | undefined;
  finding: string;
}

export class MutantBuild {
  private readonly root: string;

  /** `root`: an empty directory. */
  constructor(root: string) {
    this.root = root;
    for (const part of ["src", "test/sim"]) {
      mkdirSync(join(root, "dist", part), { recursive: true });
      cpSync(join(PROJECT, "dist", part), join(root, "dist", part), { recursive: true });
    }
    // What an import looks for upwards of its file.
    symlinkSync(join(PROJECT, "node_modules"), join(root, "node_modules"));
    cpSync(join(PROJECT, "package.json"), join(root, "package.json"));
  }

  /** Runs seeds 1 to `seeds` of the program as it is. */
  async trial(seeds: number, histories?: Mutant["histories"]): Promise<Verdict> {
    const main = join(this.root, "dist/test/sim/main.js");
    const options = [
      "--seeds",
      `${seeds}`,
      "--lines",
      "1",
      ...(histories === undefined ? [] : [`--${histories}`, "yes"]),
    ];
    const { code, stdout, stderr } = await run(process.execPath, [main, ...options], { timeout: TRIAL_MS_MAX });
    if (code === 0) return { seed: undefined, finding: "" };
    const [, seed, finding = ""] = /^seed (\d+): (.*)$/m.exec(stdout) ?? [];
    if (seed === undefined) throw new Error(`the simulator did not start: exit code ${code}\n${stdout}${stderr}`);
    if (CRASH.test(finding)) throw new Error(`seed ${seed} crashed, it found nothing: ${finding}`);
    return { seed: Number(seed), finding };
  }

  /** Runs the seeds of `mutant`, in a program that has its bug. */
  async trialOf(mutant: Mutant): Promise<Verdict> {
    const path = join(this.root, "dist", mutant.file.replace(/\.ts$/, ".js"));
    const sound = readFileSync(path, "utf8");
    writeFileSync(path, mutated(sound, mutant));
    try {
      return await this.trial(mutant.seeds, mutant.histories);
    } finally {
      writeFileSync(path, sound);
    }
  }
}
