/**
 * The keeper's life after the mount: it holds the descriptors, starts the engine, starts it again when it dies, drains on a
 * signal, and cleans up when the engine says that everything is home. It parses no request and touches no data.
 *
 *   engine ends with 0        the mount is gone and all is home: remove slab, journal and state, end
 *   engine dies, mounted      start it again; ENGINE_DEATHS_MAX deaths without a request served, each soon after its start: stop, leave slab and state
 *   engine dies, unmounted    start it again, for ever, ever slower: it still holds dirty data
 *   SIGTERM, SIGINT           ask the engine to drain, then detach the mount; its last user's close ends everything.
 *                             Over BACKING itself the mount stays until that close
 */
import { openSync, readFileSync, writeFileSync } from "node:fs";
import { errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { ENGINE_DEATHS_MAX, ENGINE_SETTLED_US, RETRY_US_FIRST, RETRY_US_LAST, UNUSED_POLL_US } from "../base/limits.ts";
import { type Log, openLog } from "../base/log.ts";
import type { ToKeeper } from "../engine/config.ts";
import { mountOf, unmountAside } from "../fuse/mount.ts";
import { topMount } from "../sys/mount-table.ts";
import type { KeeperConfig, Ready } from "./config.ts";
import { checkDirectories, realpathOfNew } from "./directories.ts";
import { EngineProcess } from "./engine-process.ts";
import { Interrupts, interrupted } from "./interrupts.ts";
import { type Opened, open } from "./opening.ts";
import { slabPath } from "./slab-file.ts";

const STDERR = 2;
const OOM_SCORE = "/proc/self/oom_score_adj";
/** From -1000, never, to 1000, first (proc(5)). The last but for those that are never killed. */
const PASSED_OVER = -900;

/**
 * Mounts and keeps, until the mount has ended. `recovering` is told how much of a recovery is done, 0 to 1, if one has to come
 * first; `ready` is called once, when requests are served. Resolves to the exit code;
 * rejects with a `Failure` when it could not begin, and then nothing is left behind.
 */
export async function keep(
  config: KeeperConfig,
  ready: (report: Ready) => void,
  recovering: (share: number) => void,
): Promise<ExitCode> {
  const interrupts = new Interrupts(config.backing);
  bePassedOver();
  process.umask(0); // the engine creates files with exactly the mode that the caller asked for
  const { logFile, settings } = config.engine;
  const own =
    config.journal !== "" && realpathOfNew(config.journal) === `${realpathOfNew(config.backing)}/.hypegear/journal`;
  if (own) config.journal = "";
  const paths = checkDirectories(config.backing, config.mountpoint, logFile, config.journal, slabPath);
  const log = openLog(logFile, settings.logLevel, { role: "keeper", mountpoint: paths.mountpoint });
  try {
    const opened = await open({ config, paths, log, progress: recovering, interrupts });
    for (const notice of opened.notices) log.warn(notice);
    const keeper = new Keeper(config, opened, log, ready);
    interrupts.leave();
    return await keeper.run();
  } catch (error) {
    log.error({ cause: (error as Error).cause }, (error as Error).message);
    throw error;
  }
}

/**
 * Asks the kernel to take its memory from others when it runs out: the slab counts as the engine's, and is still there when it has been killed, so
 * its successors would be killed too, in vain. It takes a capability, which a container may withhold. Who has asked for more keeps it.
 */
function bePassedOver(): void {
  try {
    if (Number(readFileSync(OOM_SCORE, "utf8")) > PASSED_OVER) writeFileSync(OOM_SCORE, String(PASSED_OVER));
  } catch {
    // They are killed like all others, and replaced.
  }
}

class Keeper {
  private readonly config: KeeperConfig;
  private readonly opened: Opened;
  private readonly logFd: number;
  private readonly log: Log;
  private readonly onReady: (report: Ready) => void;
  private engine: EngineProcess | undefined;
  private starts = 0;
  /** In a row, without a request served, each soon after its start. */
  private deaths = 0;
  private settled: NodeJS.Timeout | undefined;
  /** Of the next try to unmount. */
  private unused: NodeJS.Timeout | undefined;
  private isReady = false;
  private stopping = false;
  /** Of a signal that came before it served. */
  private interruption: Failure | undefined;
  private failure: Failure | undefined;
  private settle: { resolve: (code: ExitCode) => void; reject: (error: Failure) => void } | undefined;

  constructor(config: KeeperConfig, opened: Opened, log: Log, onReady: (report: Ready) => void) {
    this.config = config;
    this.opened = opened;
    this.logFd = config.engine.logFile === "" ? STDERR : openSync(config.engine.logFile, "a", 0o600);
    this.log = log;
    this.onReady = onReady;
  }

  run(): Promise<ExitCode> {
    process.on("SIGTERM", () => this.stop("SIGTERM"));
    process.on("SIGINT", () => this.stop("SIGINT"));
    process.on("SIGHUP", () => this.log.info("SIGHUP: nothing to reload"));
    return new Promise((resolve, reject) => {
      this.settle = { resolve, reject };
      this.startEngine();
    });
  }

  private startEngine(): void {
    const { backing, mountpoint, adopted, fds, journal } = this.opened;
    const { force } = this.config;
    const config = { ...this.config.engine, backing, mountpoint, adopted, force, journal, start: this.starts++ };
    try {
      this.engine = new EngineProcess(
        this.config.engineScript,
        config,
        { ...fds, log: this.logFd },
        { message: (message) => this.heard(message), ended: (code, signal) => this.ended(code, signal) },
      );
      this.log.debug({ engine: this.engine.pid, start: config.start }, "engine started");
    } catch (error) {
      this.failure = new Failure(`engine: cannot be started: ${(error as Error).message}`);
      this.ended(1, null);
    }
  }

  private heard(message: ToKeeper): void {
    if (message.type === "ready") this.serving();
    else if (message.type === "served") this.deaths = 0;
    else if (message.type === "failed") this.failure = new Failure(message.message, message.exitCode as ExitCode);
    else if (message.type === "drained") this.drained(message.result);
  }

  private serving(): void {
    this.settled = setTimeout(() => {
      this.deaths = 0;
    }, ENGINE_SETTLED_US / 1000).unref();
    if (!this.isReady) {
      this.isReady = true;
      this.opened.detachOthers();
      const { backing, mountpoint, cacheBytes, notices } = this.opened;
      this.log.info({ engine: this.engine?.pid }, `serving ${backing} at ${mountpoint}`);
      if (!this.stopping) this.onReady({ type: "ready", backing, mountpoint, cacheBytes, notices });
    }
    if (this.stopping) this.engine?.send({ type: "drain" });
  }

  /** A second signal finds the drain under way and changes nothing. */
  private stop(signal: string): void {
    this.log.info(`${signal}: draining, then unmounting`);
    if (this.stopping) return;
    this.stopping = true;
    if (!this.isReady) this.interruption = interrupted(this.opened.backing, signal);
    if (this.isReady) this.engine?.send({ type: "drain" });
  }

  private drained(result: number): void {
    if (!this.stopping) return;
    if (result < 0) this.log.error(`drain: not everything is home (${errnoName(result)}); unmounting, and trying on`);
    void this.unmount();
  }

  /**
   * A mount over BACKING itself stays in the tree until nobody uses it. Detached while a guest has an image open, it would uncover the
   * image to others: 1. the guest writes to the cache 2. another opens the image at home, reads old data, and writes 3. what the guest
   * wrote goes home over that. The locks of the two do not meet either.
   */
  private async unmount(): Promise<void> {
    const { backing, mountpoint } = this.opened;
    const isDone = await this.detach(backing !== mountpoint);
    if (isDone !== undefined) {
      this.stopping = isDone; // if it was refused, the next signal tries again
      return;
    }
    if (this.unused === undefined) this.log.info(`${mountpoint}: in use; it stays until its last user is gone`);
    clearTimeout(this.unused);
    this.unused = setTimeout(() => void this.unmount(), UNUSED_POLL_US / 1000).unref();
  }

  /**
   * Takes the mount out of the tree, `inUse` too: who still uses it is served until the last close. False if that was refused; undefined if
   * it is in use, and so stays.
   */
  private async detach(inUse: boolean): Promise<boolean | undefined> {
    const { mountId } = this.opened;
    const mount = mountOf(mountId);
    if (mount === undefined) return true;
    const { path } = mount;
    if (topMount(path)?.id !== mountId) {
      this.log.error(`unmount ${path}: another mount lies on top of it; unmount that first, and end this again`);
      return false;
    }
    await unmountAside(path, inUse);
    if (mountOf(mountId) === undefined) return true;
    if (!inUse) return undefined;
    this.log.error(`unmount ${path}: refused; unmount it by hand`);
    return false;
  }

  private ended(code: number | null, signal: NodeJS.Signals | null): void {
    const how = signal === null ? `exit code ${code}` : signal;
    if (!this.isReady) this.failStart(how);
    else if (code === 0) void this.finish();
    else this.died(how);
  }

  private failStart(how: string): void {
    this.opened.undo();
    const why = `the engine ended before it served (${how}); see the log (--log-file, or --foreground)`;
    this.settle!.reject(this.failure ?? new Failure(`${this.opened.backing}: ${why}`));
  }

  /** Everything is home. The mount may still be in the tree when its connection was aborted: it is dead then. */
  private async finish(): Promise<void> {
    await this.detach(true);
    try {
      this.opened.removeAll();
    } catch (error) {
      this.log.error(`everything is home, but ${(error as Error).message}: state and slab stay for the next mount`);
      this.settle!.resolve(ExitCode.failed);
      return;
    }
    this.log.info("everything is home; ended");
    if (this.interruption === undefined) this.settle!.resolve(ExitCode.done);
    else this.settle!.reject(this.interruption);
  }

  private died(how: string): void {
    clearTimeout(this.settled);
    this.deaths++;
    const mounted = mountOf(this.opened.mountId) !== undefined;
    const why = this.failure === undefined ? how : `${how}: ${this.failure.message}`;
    this.failure = undefined;
    if (mounted && this.deaths >= ENGINE_DEATHS_MAX) {
      this.giveUp(why);
      return;
    }
    const delayMs = this.deaths === 1 ? 0 : Math.min(RETRY_US_LAST, RETRY_US_FIRST * 2 ** (this.deaths - 2)) / 1000;
    this.log.error(`engine ended (${why}); starting it again${delayMs === 0 ? "" : ` in ${delayMs} ms`}`);
    setTimeout(() => this.startEngine(), delayMs);
  }

  /** The mount stays as a dead one: over BACKING itself, detaching it would let guests write past the cache. */
  private giveUp(why: string): void {
    const { backing, mountpoint } = this.opened;
    this.log.fatal(
      `engine died ${this.deaths} times in a row without serving a request, last: ${why}; giving up. ` +
        `The slab keeps all writes: hypegear mount ${backing} ${mountpoint} carries on`,
    );
    this.settle!.resolve(ExitCode.failed);
  }
}
