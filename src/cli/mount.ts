/** `hypegear mount`: starts a keeper and returns when it serves, or stays and is the keeper itself. */
import { type ChildProcess, spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import type { Readable } from "node:stream";
import { fileURLToPath } from "node:url";
import { Command, Option } from "commander";
import { ExitCode, Failure } from "../base/errors.ts";
import { THROUGH_BYTES_MAX } from "../base/limits.ts";
import { formatSize } from "../base/size.ts";
import type { Failed, KeeperConfig, Ready, Report } from "../keeper/config.ts";
import { interrupted } from "../keeper/interrupts.ts";
import { keep } from "../keeper/keeper.ts";
import { kebab, MOUNT_OPTIONS, type MountOptions, OPTION_KEYS, parseOptionList } from "./mount-options.ts";
import { ShareBar } from "./progress.ts";
import { version } from "./version.ts";

const REPORT_FD = 3;
const scriptPath = (relative: string): string => fileURLToPath(new URL(relative, import.meta.url));

export function mountCommand(): Command {
  const command = new Command("mount")
    .description("Mounts a write-back cache over a directory of images. Returns when guests can use it.")
    .argument("<BACKING>", "the directory with the images")
    .argument("[MOUNTPOINT]", "where guests see them; default: over BACKING itself");
  for (const key of OPTION_KEYS) command.addOption(optionOf(key));
  return command
    .option("-o <KEY=VALUE,...>", "any of these options, as fstab has them; may be repeated", collect, {})
    .action(
      async (
        backing: string,
        mountpoint: string | undefined,
        given: Partial<MountOptions> & { o: Partial<MountOptions> },
      ) => {
        process.exitCode = await mount(backing, mountpoint ?? backing, given);
      },
    );
}

function optionOf(key: keyof MountOptions): Option {
  const row = MOUNT_OPTIONS[key];
  if (row.value === undefined) return new Option(`--${kebab(key)}`, row.help);
  return new Option(`--${kebab(key)} <${row.value}>`, `${row.help} (default: ${row.shown})`).argParser((text) =>
    row.parse(text),
  );
}

const collect = (list: string, before: Partial<MountOptions>): Partial<MountOptions> => ({
  ...before,
  ...parseOptionList(list),
});

function mount(
  backing: string,
  mountpoint: string,
  given: Partial<MountOptions> & { o: Partial<MountOptions> },
): Promise<ExitCode> {
  const { o, ...long } = given;
  const initial = Object.fromEntries(
    OPTION_KEYS.map((key) => [key, MOUNT_OPTIONS[key].initial]),
  ) as unknown as MountOptions;
  const options: MountOptions = { ...initial, ...o, ...long };
  const config = configOf(backing, mountpoint, options);
  if (!options.cache && options.durability === "ordered")
    throw new Failure("--durability ordered: takes the cache; leave --cache off out", ExitCode.usage);
  const bar = new ShareBar(`${config.backing}: recovering`);
  return options.foreground
    ? keep(config, announce, (share) => bar.show(share)).finally(() => bar.end())
    : startDetached(config, bar);
}

function configOf(backing: string, mountpoint: string, options: MountOptions): KeeperConfig {
  const { cacheSize, cache, io, showControl, logFile, allowOther, noexec, force, journal, journalSize } = options;
  const { durability, lossWindow, device, dirtyLimit, rateLimit, maxAge, logLevel } = options;
  const settings = { durability, lossWindow, device, dirtyLimit, rateLimit, maxAge, logLevel };
  return {
    backing: resolve(backing),
    mountpoint: resolve(mountpoint),
    cacheBytes: cache ? cacheSize : Math.min(cacheSize, THROUGH_BYTES_MAX),
    journal,
    ...(journalSize === 0 ? {} : { journalBytes: journalSize }),
    allowOther,
    noexec,
    force,
    engineScript: scriptPath("../engine/main.js"),
    engine: { cache, io, showControl, logFile, version, settings },
  };
}

/** One line on standard output says that guests may start; what the user should know goes to standard error. */
function announce({ backing, mountpoint, cacheBytes, notices }: Ready): void {
  for (const notice of notices) process.stderr.write(`hypegear: ${backing}: ${notice}\n`);
  const where = backing === mountpoint ? `${backing}, over itself` : `${backing} at ${mountpoint}`;
  process.stdout.write(`ready: ${where}, cache ${formatSize(cacheBytes)}\n`);
}

/** Starts the keeper in a session of its own and waits for its last line. */
async function startDetached(config: KeeperConfig, bar: ShareBar): Promise<ExitCode> {
  const keeper = spawn(process.execPath, [scriptPath("../keeper/main.js"), JSON.stringify(config)], {
    cwd: "/",
    detached: true,
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  let interruption: string | undefined;
  const interrupt = (signal: NodeJS.Signals): void => {
    interruption = signal;
    keeper.kill("SIGTERM");
  };
  process.once("SIGINT", interrupt).once("SIGTERM", interrupt);
  const report = await reportOf(keeper, bar);
  keeper.unref();
  if (report === undefined && interruption !== undefined) throw interrupted(config.backing, interruption);
  if (report === undefined)
    throw new Failure(
      `${config.backing}: the keeper ended before it served; see the log (--log-file, or --foreground)`,
    );
  if (report.type === "failed") throw new Failure(report.message, report.exitCode);
  announce(report);
  return ExitCode.done;
}

/** The keeper's last report; undefined if it ended without one. */
async function reportOf(keeper: ChildProcess, bar: ShareBar): Promise<Ready | Failed | undefined> {
  const pipe = (keeper.stdio as unknown as Readable[])[REPORT_FD]!;
  let last: Ready | Failed | undefined;
  for await (const line of createInterface({ input: pipe })) {
    const report = JSON.parse(line) as Report;
    if (report.type === "recovering") bar.show(report.share);
    else last = report;
  }
  bar.end();
  return last;
}
