/** Where a file lies: its device number, and the mount that holds it. */
import { closeSync, fstatSync, openSync, readFileSync, statSync } from "node:fs";
import { O } from "../sys/constants.ts";

/** One line of /proc/self/mountinfo, as far as it is used. */
export interface Mount {
  /** Filesystem type, for example `ext4`. */
  type: string;
  /** What is mounted: a device's path, or a word of the filesystem's own. */
  source: string;
  /** The `upperdir` of an overlay; empty otherwise. */
  upper: string;
}

export interface Place extends Mount {
  /** `MAJOR:MINOR` that stat(2) gives. */
  device: string;
}

/** What device detection asks of the host; tests bring a made-up one. */
export interface Host {
  /** Where sysfs is. */
  readonly sys: string;
  /** Where the file of a path, or of an open descriptor, lies; undefined when that cannot be told. */
  place(target: string | number): Place | undefined;
  /** `MAJOR:MINOR` of the block device node at `path`; undefined if there is none. */
  node(path: string): string | undefined;
}

export const thisHost: Host = {
  sys: "/sys",
  place: (target) => attempt(() => (typeof target === "number" ? placeOf(target) : placeOfPath(target))),
  node: (path) =>
    attempt(() => {
      const status = statSync(path, { bigint: true });
      return status.isBlockDevice() ? deviceNumber(status.rdev) : undefined;
    }),
};

/** What `read` returns; undefined if it throws, for files that need not be there. */
export function attempt<T>(read: () => T): T | undefined {
  try {
    return read();
  } catch {
    return undefined;
  }
}

/** `MAJOR:MINOR` of a Linux device number. */
export function deviceNumber(device: bigint): string {
  const major = ((device >> 8n) & 0xfffn) | ((device >> 32n) & ~0xfffn);
  const minor = (device & 0xffn) | ((device >> 12n) & 0xffffff00n);
  return `${major}:${minor}`;
}

/** The mount with number `id` in the text of a mountinfo file; undefined if it is not there. */
export function mountIn(mountinfo: string, id: string): Mount | undefined {
  const line = mountinfo.split("\n").find((candidate) => candidate.startsWith(`${id} `));
  const [, type, source, options] = line === undefined ? [] : (/ - (\S+) (\S*) (\S+)$/.exec(line) ?? []);
  if (type === undefined || source === undefined || options === undefined) return undefined;
  const upper = options.split(",").find((option) => option.startsWith("upperdir="));
  return { type, source: unescaped(source), upper: unescaped(upper?.slice("upperdir=".length) ?? "") };
}

/** O_PATH: nothing is read, and a FIFO or a device is not opened by looking at it. */
function placeOfPath(path: string): Place | undefined {
  const fd = openSync(path, O.PATH | O.CLOEXEC);
  try {
    return placeOf(fd);
  } finally {
    closeSync(fd);
  }
}

/**
 * By the descriptor's mount number, not by its path: another filesystem may be mounted over the directory (ours is), and
 * a btrfs subvolume's device number stands in no mountinfo line.
 */
function placeOf(fd: number): Place | undefined {
  const id = /^mnt_id:\s*(\d+)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "utf8"))?.[1];
  const mount = id === undefined ? undefined : mountIn(readFileSync("/proc/self/mountinfo", "utf8"), id);
  const device = deviceNumber(fstatSync(fd, { bigint: true }).dev);
  return { device, ...(mount ?? { type: "unknown", source: "", upper: "" }) };
}

/** mountinfo writes space, tab, line feed and backslash as three octal digits. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8)));
