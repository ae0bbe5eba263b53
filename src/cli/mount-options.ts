/**
 * The options of `mount`, one row each: the long option, the `-o` key, the default, the bounds and the help all come from here.
 */
import { resolve } from "node:path";
import { ExitCode, Failure } from "../base/errors.ts";
import {
  CACHE_BYTES_DEFAULT,
  CACHE_BYTES_MAX,
  CACHE_BYTES_MIN,
  DIRTY_LIMIT_DEFAULT,
  JOURNAL_BYTES_DEFAULT,
  JOURNAL_BYTES_MAX,
  JOURNAL_BYTES_MIN,
  JOURNAL_FREE_SHARE,
  LOSS_WINDOW_S_DEFAULT,
} from "../base/limits.ts";
import { LOG_LEVELS } from "../base/log.ts";
import { describeBounds, formatDuration, formatShare, formatSize, parseChoice, parseSize } from "../base/size.ts";
import { parseSetting, SETTING_BOUNDS } from "./settings.ts";

/** Parsed options of `mount`. */
export interface MountOptions {
  cacheSize: number;
  cache: boolean;
  durability: "sync" | "ordered" | "volatile";
  lossWindow: number;
  journal: string;
  /** 0: as much as suits the filesystem. */
  journalSize: number;
  maxAge: number;
  device: "auto" | "hdd" | "ssd";
  transport: "auto" | "dev";
  io: "auto" | "uring" | "threads";
  allowOther: boolean;
  noexec: boolean;
  logFile: string;
  logLevel: string;
  dirtyLimit: number;
  rateLimit: number;
  showControl: boolean;
  foreground: boolean;
  force: boolean;
}

interface Row<T> {
  /** What stands for the value in the help; undefined: a switch. */
  value: string | undefined;
  help: string;
  initial: T;
  /** The initial value as the help shows it. */
  shown: string;
  parse(text: string): T;
}

const isSwitch = { value: undefined, initial: false, shown: "", parse: () => true } as const;
const JOURNAL_BOUNDS = { min: JOURNAL_BYTES_MIN, max: JOURNAL_BYTES_MAX };
const CACHE_BOUNDS = { min: CACHE_BYTES_MIN, max: CACHE_BYTES_MAX };

/** Keys are the properties; the option's name is the key in kebab case. */
export const MOUNT_OPTIONS: { [Key in keyof MountOptions]: Row<MountOptions[Key]> } = {
  cacheSize: {
    value: "SIZE",
    help: `memory of the cache, ${describeBounds(CACHE_BOUNDS, formatSize)}; k, M, G, T are powers of 1024`,
    initial: CACHE_BYTES_DEFAULT,
    shown: formatSize(CACHE_BYTES_DEFAULT),
    parse: (text) => parseSize(text, "--cache-size", CACHE_BOUNDS),
  },
  cache: {
    value: "on|off",
    help: "off: every write goes straight to the image",
    initial: true,
    shown: "on",
    parse: (text) => parseChoice(text, "--cache", ["on", "off"]) === "on",
  },
  durability: {
    value: "sync|ordered|volatile",
    help: "sync: a flush returns when its data is on stable media; ordered: at once, and after a power cut all images show one same instant; volatile: at once, for throw-away guests only",
    initial: "sync",
    shown: "sync",
    parse: (text) => parseSetting("durability", text, "--durability") as MountOptions["durability"],
  },
  lossWindow: {
    value: "TIME",
    help: `how long ago that instant of ordered may be, ${SETTING_BOUNDS.lossWindow}`,
    initial: LOSS_WINDOW_S_DEFAULT,
    shown: formatDuration(LOSS_WINDOW_S_DEFAULT),
    parse: (text) => Number(parseSetting("loss-window", text, "--loss-window")),
  },
  journal: {
    value: "PATH",
    help: "where the journal lies: a file, or a block device, which is used whole",
    initial: "",
    shown: ".hypegear/journal in BACKING",
    parse: (text) => absolute(text, "--journal"),
  },
  journalSize: {
    value: "SIZE",
    help: `size of the journal, ${describeBounds(JOURNAL_BOUNDS, formatSize)}`,
    initial: 0,
    shown: `${formatSize(JOURNAL_BYTES_DEFAULT)}, at most ${formatShare(JOURNAL_FREE_SHARE)} of what is free`,
    parse: (text) => parseSize(text, "--journal-size", JOURNAL_BOUNDS),
  },
  maxAge: {
    value: "TIME",
    help: `dirty data older than this goes home, ${SETTING_BOUNDS.maxAge}`,
    initial: 0,
    shown: "0",
    parse: (text) => Number(parseSetting("max-age", text, "--max-age")),
  },
  device: {
    value: "auto|hdd|ssd",
    help: "what lies beneath; auto asks the backing device",
    initial: "auto",
    shown: "auto",
    parse: (text) => parseSetting("device", text, "--device") as MountOptions["device"],
  },
  transport: {
    value: "auto|dev",
    help: "how requests come from the kernel; auto takes the best, today dev: /dev/fuse",
    initial: "auto",
    shown: "auto",
    parse: (text) => parseChoice(text, "--transport", ["auto", "dev"]),
  },
  io: {
    value: "auto|uring|threads",
    help: "how the images are read and written; auto takes io_uring where it is allowed",
    initial: "auto",
    shown: "auto",
    parse: (text) => parseChoice(text, "--io", ["auto", "uring", "threads"]),
  },
  allowOther: { ...isSwitch, help: "let other users in, such as the one that runs the guests" },
  noexec: { ...isSwitch, help: "no program can be run from the mount, as with -o user" },
  logFile: {
    value: "PATH",
    help: "append the log to this file",
    initial: "",
    shown: "none; with --foreground standard error",
    parse: (text) => absolute(text, "--log-file"),
  },
  logLevel: {
    value: "LEVEL",
    help: `one of ${LOG_LEVELS.join(", ")}`,
    initial: "info",
    shown: "info",
    parse: (text) => parseSetting("log-level", text, "--log-level"),
  },
  dirtyLimit: {
    value: "SHARE",
    help: `share of the cache that dirty data may take before writers wait, ${SETTING_BOUNDS.dirtyLimit}`,
    initial: DIRTY_LIMIT_DEFAULT,
    shown: formatShare(DIRTY_LIMIT_DEFAULT),
    parse: (text) => Number(parseSetting("dirty-limit", text, "--dirty-limit")),
  },
  rateLimit: {
    value: "SIZE",
    help: `most bytes a second that go home, ${SETTING_BOUNDS.rateLimit}`,
    initial: 0,
    shown: "0",
    parse: (text) => Number(parseSetting("rate-limit", text, "--rate-limit")),
  },
  showControl: { ...isSwitch, help: "list .hypegear in the mount's root (it can always be opened by name)" },
  foreground: {
    ...isSwitch,
    help: 'stay, print a line that begins with "ready" when serving, end cleanly on SIGTERM or SIGINT',
  },
  force: {
    ...isSwitch,
    help: "mount although the slab or the journal of an earlier mount is missing or damaged (what only it had is lost), or images were changed beneath it (its data goes over them)",
  },
};

function absolute(text: string, what: string): string {
  if (text === "") throw new Failure(`${what} "": empty; give a path`, ExitCode.usage);
  return resolve(text);
}

export type OptionKey = keyof MountOptions;
export const OPTION_KEYS = Object.keys(MOUNT_OPTIONS) as OptionKey[];

/** `cacheSize` as `cache-size`. */
export const kebab = (key: string): string => key.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** What mount(8) passes on from fstab and which changes nothing here. */
const IGNORED =
  /^(defaults|rw|auto|noauto|nofail|_netdev|async|(no)?(dev|suid|atime|diratime)|relatime|x-.*|comment=.*)$/;

/** What says by mount(8)'s own names whether programs can be run. */
const NOEXEC: Readonly<Record<string, boolean>> = { exec: false, user: true, users: true, owner: true, group: true };

/**
 * The options of one `-o` list, `key=value` or a switch's bare key, separated by commas. Later ones win. Throws a usage
 * `Failure` for an unknown key.
 */
export function parseOptionList(list: string): Partial<MountOptions> {
  const options: Record<string, unknown> = {};
  for (const item of list.split(",")) {
    if (item === "" || IGNORED.test(item)) continue;
    if (Object.hasOwn(NOEXEC, item)) {
      options["noexec"] = NOEXEC[item];
      continue;
    }
    const [name, value] = split(item);
    const key = OPTION_KEYS.find((candidate) => kebab(candidate) === name.replaceAll("_", "-"));
    if (key === undefined) throw unknownOption(name);
    options[key] = parseOption(key, name, value);
  }
  return options;
}

function parseOption(key: OptionKey, name: string, value: string | undefined): unknown {
  const row = MOUNT_OPTIONS[key];
  if (row.value === undefined && value !== undefined)
    throw new Failure(`-o ${name}: takes no value; give ${name} alone`, ExitCode.usage);
  if (row.value !== undefined && value === undefined)
    throw new Failure(`-o ${name}: needs a value; give ${name}=${row.value}`, ExitCode.usage);
  return row.parse(value ?? "");
}

function unknownOption(name: string): Failure {
  const why = name === "ro" ? "read-only mounts are not supported" : "no such option";
  return new Failure(`-o ${name}: ${why}; see hypegear mount --help`, ExitCode.usage);
}

function split(item: string): [string, string | undefined] {
  const at = item.indexOf("=");
  return at < 0 ? [item, undefined] : [item.slice(0, at), item.slice(at + 1)];
}
