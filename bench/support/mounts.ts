/** Mountpoints, as the kernel lists them. */
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";

/** The kernel writes blanks, tabs, newlines and backslashes in paths as octal. */
const unescapePath = (path: string): string =>
  path.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

export interface MountEntry {
  mountpoint: string;
  type: string;
}

export function mounts(): MountEntry[] {
  const lines = readFileSync("/proc/self/mountinfo", "utf8").trim().split("\n");
  return lines.map((line) => {
    const [left, right] = line.split(" - ");
    return { mountpoint: unescapePath(left!.split(" ")[4]!), type: right!.split(" ")[0]! };
  });
}

export const isMounted = (path: string): boolean => mounts().some((entry) => entry.mountpoint === path);

/** The type of the filesystem that holds the absolute, symlink-free `path`. */
export function filesystemType(path: string): string {
  const holds = (entry: MountEntry) => entry.mountpoint === "/" || `${path}/`.startsWith(`${entry.mountpoint}/`);
  const holders = mounts().filter(holds);
  return holders.reduce((best, entry) => (entry.mountpoint.length >= best.mountpoint.length ? entry : best)).type;
}

/** Takes a mount out of the tree at once, whoever still uses it. */
export function detach(path: string): void {
  if (isMounted(path)) execFileSync("umount", ["-l", path], { stdio: ["ignore", "ignore", "inherit"] });
}
