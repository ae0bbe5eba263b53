/**
 * `hypegear verify`: puts the promises to the test that a kill can test, on a scratch directory beside the user's images. Guests
 * write stamped blocks, engine and keeper are killed under them, and after each kill all that was answered must be there.
 */
import { existsSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { systemClock } from "../../base/clock.ts";
import { ExitCode, Failure } from "../../base/errors.ts";
import { formatSize } from "../../base/size.ts";
import { BLOCK_BYTES } from "../../base/units.ts";
import { unmountFuse } from "../../fuse/mount.ts";
import { command } from "../control.ts";
import { Guests } from "./guests.ts";
import { IMAGES, VerifyScratch } from "./scratch.ts";
import { Subject } from "./subject.ts";
import { Verdict } from "./verdict.ts";

const ENGINE_KILLS = 5;
const DOUBLE_KILLS = 2;
const LOAD_MS = 900;
/** Waiting for one step; far more than a slow disk needs for a cache of this size. */
const STEP_MS = 25_000;

const NOT_CHECKED =
  "a loss of power (nothing here cuts it: what a flush left in the disk's own cache), disks that fail or fill up, other kernels";

export interface VerifyOptions {
  images: string;
  /** Of `mount`, as given. */
  mountOptions: readonly string[];
  durability: string;
  cacheBytes: number;
}

/** Runs the check; 0: every promise was kept, 1: not, or it could not be carried out (a line says why). */
export async function verify(options: VerifyOptions): Promise<ExitCode> {
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, stop);
  process.stdout.on("error", stop); // its reader is gone (`| head`): what was begun must be undone all the same
  const check = new Check(options, interrupt.signal);
  try {
    return await check.run();
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    throw new Failure("verify: interrupted; the scratch directory is removed");
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}

class Check {
  private readonly options: VerifyOptions;
  private readonly interrupt: AbortSignal;
  private readonly scratch: VerifyScratch;
  private readonly subject: Subject;
  private readonly guests: Guests;
  private readonly verdict = new Verdict();
  private readonly clock = systemClock();
  private readonly beganUs = this.clock.nowUs();

  constructor(options: VerifyOptions, interrupt: AbortSignal) {
    this.options = options;
    this.interrupt = interrupt;
    this.scratch = new VerifyScratch(options.images);
    this.subject = new Subject(this.scratch.backing, this.scratch.mountpoint, options.mountOptions);
    this.guests = new Guests(this.scratch);
  }

  async run(): Promise<ExitCode> {
    try {
      await this.mount();
      await this.test().catch((error: unknown) => this.stopped(error));
    } finally {
      this.guests.abandon();
      await this.subject.killAll();
      this.scratch.remove();
    }
    this.report();
    return this.verdict.isGood ? ExitCode.done : ExitCode.failed;
  }

  /** A step that fails ends the check; what was found up to there is told all the same. */
  private stopped(error: unknown): void {
    if (this.interrupt.aborted || !(error instanceof Failure)) throw error;
    this.verdict.tried("every step of this check can be carried out", [error.message]);
  }

  private async mount(): Promise<void> {
    const { scratch, options } = this;
    say(`two images of 16 MiB in ${scratch.root}; no image of yours is touched`);
    say(`hypegear mount ${options.mountOptions.join(" ")} ${scratch.backing} ${scratch.mountpoint}`);
    await this.step("mount", () => this.subject.mount());
  }

  private async test(): Promise<void> {
    for (let round = 1; round <= ENGINE_KILLS; round++) await this.killEngine(round);
    for (let round = 1; round <= DOUBLE_KILLS; round++) await this.killAll(round);
    await this.umount();
  }

  /** Guests write, the engine is killed under them, they go on; then everything is read back. */
  private async killEngine(round: number): Promise<void> {
    say(`guests write; SIGKILL to the engine, ${round} of ${ENGINE_KILLS}; everything is read back`);
    this.guests.start();
    await this.load();
    await this.step("a new engine", () => this.subject.killEngine());
    await this.load();
    await this.step("the guests' last calls", () => this.guests.end("SIGTERM"));
    this.verdict.tried("engine killed: guests see a pause and no error", this.guests.takeErrors());
    const missing = await this.step("reading back", () => this.guests.missing(this.scratch.mountpoint));
    this.verdict.tried("engine killed: nothing that was answered is lost", missing);
  }

  /** Both are killed under the guests: what was flushed is home or in the journal, and the next mount has the rest. */
  private async killAll(round: number): Promise<void> {
    say(`guests write; SIGKILL to keeper and engine together, ${round} of ${DOUBLE_KILLS}; mounted again, read back`);
    this.guests.start();
    await this.load();
    await this.step("the daemon's end", () => this.subject.killAll());
    await this.step("the guests' end", () => this.guests.end("SIGKILL"));
    this.guests.takeErrors(); // a guest on a dead mount sees errors: nobody promised otherwise
    if (this.options.durability === "sync") {
      const unflushed = await this.step("reading the images", () => this.unflushed());
      this.verdict.tried(
        "sync: a flush returns when everything written before it is home or in the journal",
        unflushed,
      );
    }
    const refused = await this.step("the next mount", () => this.subject.mount()).then(() => [], asFinding);
    this.verdict.tried("keeper and engine killed: the next mount carries on", refused);
    if (refused.length > 0) throw new Failure("nothing is mounted that the other steps could use");
    const missing = await this.step("reading back", () => this.guests.missing(this.scratch.mountpoint));
    this.verdict.tried("keeper and engine killed: nothing that was answered is lost", missing);
  }

  /** Flushed writes that home and journal do not show together, without the cache. */
  private async unflushed(): Promise<string[]> {
    try {
      return await this.guests.unflushed(this.scratch.afterPowerCut());
    } catch (error) {
      if (!(error instanceof Failure)) throw error;
      return asFinding(error);
    }
  }

  private async umount(): Promise<void> {
    const { backing, mountpoint } = this.scratch;
    say("guests write; hypegear umount; the images themselves are read");
    this.guests.start();
    await this.load();
    await this.step("the guests' last calls", () => this.guests.end("SIGTERM"));
    this.verdict.tried("in normal use: no call fails", this.guests.takeErrors());
    const code = await this.step("umount", async () => {
      await command(mountpoint, "drain");
      unmountFuse(mountpoint, false);
      return this.subject.ended();
    });
    const left = existsSync(join(backing, ".hypegear")) ? [`${backing}/.hypegear is left`] : [];
    if (code !== 0) left.push(`the daemon ended with ${code ?? "a signal"}`);
    this.verdict.tried("umount: the daemon ends and leaves nothing behind", left);
    const missing = await this.guests.missing(backing);
    this.verdict.tried("umount: everything is home", missing);
    const through = `${formatSize(this.guests.blocks * BLOCK_BYTES)} through a cache of ${formatSize(this.options.cacheBytes)}`;
    this.verdict.tried(`memory pressure drops no dirty data: ${through}`, missing);
  }

  private load(): Promise<void> {
    return this.step("the load", () => sleep(LOAD_MS));
  }

  /** `work`, which is given up on a Ctrl-C or when it takes too long. */
  private async step<T>(what: string, work: () => Promise<T>): Promise<T> {
    const over = new AbortController();
    const given = AbortSignal.any([this.interrupt, over.signal]);
    const late = sleep(STEP_MS, undefined, { signal: given }).then(
      () => Promise.reject(new Failure(`${what} took more than ${STEP_MS / 1000} s`)),
      () => Promise.reject(new Failure(`${what} was interrupted`)),
    );
    try {
      this.interrupt.throwIfAborted();
      return await Promise.race([work(), late]);
    } finally {
      late.catch(() => undefined);
      over.abort();
    }
  }

  private report(): void {
    const { guests, verdict } = this;
    for (const line of verdict.lines()) say(line);
    say(`checked with ${guests.writes} writes and ${guests.flushes} flushes on ${IMAGES.length} images`);
    say(`worst pause of a guest's call: ${Math.ceil(guests.worstPauseUs / 1000)} ms`);
    say(`not checked: ${NOT_CHECKED}`);
    const seconds = Math.round((this.clock.nowUs() - this.beganUs) / 1e6);
    say(`${verdict.isGood ? "every promise was kept" : "A PROMISE WAS BROKEN: report it"}; ${seconds} s, all removed`);
  }
}

const asFinding = (error: unknown): string[] => [(error as Error).message];

const say = (what: string): void => {
  process.stdout.write(`verify: ${what}\n`);
};
