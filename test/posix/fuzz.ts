/**
 * Random operations by several processes at once on a mount, held against a model in memory, while the engine is killed. What
 * is done is determined by the seed; when the kills come is not.
 */
import { mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Daemon } from "../support/daemon.ts";
import type { Scope } from "../support/scope.ts";
import { compile } from "./compile.ts";
import { type Answer, Hand } from "./hand.ts";
import { difference, type ModelFile } from "./model.ts";
import { type Claim, Operations, type Step, type World } from "./operations.ts";
import { Seeded } from "./random.ts";

export interface FuzzOptions {
  seed: number;
  /** Ends after so many rounds, each of one operation a hand, ... */
  rounds: number;
  /** ... or after so many seconds, whichever comes first. */
  seconds: number;
  hands: number;
  /** Files grow to this, MiB. */
  fileMiB: number;
  /** How often files are truncated: writes have 30. */
  truncates: number;
  /** Mean milliseconds between two kills of the engine; 0: none. */
  killMs: number;
  /** Options of the mount. */
  args: string[];
  /** The backing directory; default: a scratch directory. */
  backing?: string;
}

export interface FuzzOutcome {
  operations: number;
  rounds: number;
  kills: number;
}

const PAGE = 4096;
const ATTEMPTS = 6;

/** `daemon` serves an empty directory; it is unmounted in the end. Rejects with what was wrong first. */
export async function fuzz(options: FuzzOptions, daemon: Daemon, scope: Scope): Promise<FuzzOutcome> {
  const program = await compile(scope, "hand.c");
  mkdirSync(join(daemon.mountpoint, "d"));
  const fuzzer = new Fuzzer(options, () => new Hand(program, daemon.mountpoint, scope));
  const killer = new Killer(daemon, options, () => fuzzer.operations);
  try {
    await fuzzer.run();
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : String(error)}\n${daemon.log.slice(-2000)}`, {
      cause: error,
    });
  } finally {
    await killer.end();
  }
  fuzzer.end();
  await expectAtHome(daemon, fuzzer.world);
  return { operations: fuzzer.operations, rounds: fuzzer.round, kills: killer.kills };
}

interface Member {
  hand: Hand;
  operations: Operations;
}

class Fuzzer {
  readonly world: World;
  operations = 0;
  round = 0;
  private readonly options: FuzzOptions;
  private readonly members: Member[];

  constructor(options: FuzzOptions, makeHand: () => Hand) {
    this.options = options;
    this.world = {
      random: new Seeded(options.seed),
      names: new Map(),
      fileBytes: options.fileMiB * 2 ** 20,
      truncates: options.truncates,
    };
    this.members = Array.from({ length: options.hands }, () => ({
      hand: makeHand(),
      operations: new Operations(this.world),
    }));
  }

  async run(): Promise<void> {
    const ends = Date.now() + this.options.seconds * 1000;
    while (this.round < this.options.rounds && Date.now() < ends) {
      this.round++;
      await this.runRound();
    }
  }

  end(): void {
    for (const { hand } of this.members) hand.end();
  }

  /** Each hand does one operation, all at once; those that would disturb each other are left out. */
  private async runRound(): Promise<void> {
    const claimed: Claim[] = [];
    const begun: { step: Step; answer: Promise<Answer> }[] = [];
    for (const [index, { hand, operations }] of this.members.entries()) {
      const step = admissible(operations, claimed);
      if (step === undefined) continue;
      claimed.push(...step.claims);
      for (const { file } of step.claims) file?.note(`${this.round}.${index} ${JSON.stringify(step.command)}`);
      begun.push({ step, answer: hand.do(step.command) });
    }
    const answers = await Promise.all(begun.map(({ answer }) => answer));
    for (const [index, { step }] of begun.entries()) this.check(step, answers[index]!);
  }

  private check(step: Step, answer: Answer): void {
    this.operations++;
    const wrong = step.check(answer);
    if (wrong === undefined) return;
    const histories = step.claims.map(({ file }) => file?.history.slice(-HISTORY_SHOWN).join("\n") ?? "");
    throw new Error(`round ${this.round}: ${JSON.stringify(step.command)}: ${wrong}\n${histories.join("\n--\n")}`);
  }
}

const HISTORY_SHOWN = Number(process.env["HYPEGEAR_FUZZ_HISTORY"] ?? 12);

function admissible(operations: Operations, claimed: Claim[]): Step | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const step = operations.next();
    if (!step.claims.some((mine) => claimed.some((other) => clash(mine, other)))) return step;
  }
  return undefined;
}

function clash(a: Claim, b: Claim): boolean {
  if (a.file !== b.file) return false;
  if ((a.size === "uses" && b.size === "changes") || (a.size === "changes" && b.size === "uses")) return true;
  const unit = a.mapped || b.mapped ? PAGE : 1;
  const apart =
    Math.ceil(a.to / unit) <= Math.floor(b.from / unit) || Math.ceil(b.to / unit) <= Math.floor(a.from / unit);
  return !apart && (a.writes || b.writes);
}

/** Answers of the engine before may still be on their way: as many say nothing about the one that was started last. */
const IN_FLIGHT_MAX = 8;
/** As many kills in a row before a request was served as the keeper bears without giving up. */
const EARLY_KILLS_MAX = 2;

/** Kills the engine at random moments until its end. */
class Killer {
  kills = 0;
  private running = true;
  private readonly work: Promise<void>;

  /** `progress` counts what has been served. */
  constructor(daemon: Daemon, { killMs, seed }: FuzzOptions, progress: () => number) {
    this.work = killMs > 0 ? this.run(daemon, killMs, new Seeded(seed + 1), progress) : Promise.resolve();
    this.work.catch(() => {}); // told by `end`
  }

  async end(): Promise<void> {
    this.running = false;
    await this.work;
  }

  private async run(daemon: Daemon, killMs: number, random: Seeded, progress: () => number): Promise<void> {
    let early = 0;
    for (let served = 0; this.running; served = progress() + IN_FLIGHT_MAX) {
      await sleep(random.below(2 * killMs));
      early = progress() <= served ? early + 1 : 0;
      if (early > EARLY_KILLS_MAX) await this.until(() => progress() > served);
      if (!this.running) return;
      await daemon.enginePid();
      await daemon.kill("engine");
      this.kills++;
    }
  }

  private async until(reached: () => boolean): Promise<void> {
    while (this.running && !reached()) await sleep(10);
  }
}

/** Unmounts; the backing directory then holds what the model holds, and nothing else. */
async function expectAtHome(daemon: Daemon, { names }: World): Promise<void> {
  for (const [name, file] of names) expectFile(join(daemon.mountpoint, name), file);
  const { code, stderr } = await daemon.umount();
  if (code !== 0) throw new Error(`umount: exit code ${code}: ${stderr}\n${daemon.log}`);
  for (const [name, file] of names) expectFile(join(daemon.backing, name), file);
  const found = readdirSync(daemon.backing, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(daemon.backing.length + 1))
    .filter((name) => !name.startsWith(".hypegear/") || name.startsWith(".hypegear/held/"));
  const expected = [...names.keys()].sort().join(" ");
  if (found.sort().join(" ") !== expected) throw new Error(`files at home: ${found.join(" ")} instead of ${expected}`);
}

function expectFile(path: string, file: ModelFile): void {
  const wrong = difference(readFileSync(path), file.bytes.subarray(0, file.size), 0);
  if (wrong !== undefined) throw new Error(`${path}: ${wrong}\n${file.history.slice(-HISTORY_SHOWN).join("\n")}`);
}
