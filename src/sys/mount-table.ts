/** The kernel's table of mounts (/proc/self/mountinfo), as this process's mount namespace has it. */
import { readFileSync } from "node:fs";

export interface MountEntry {
  /** Unique among the mounts that exist. */
  id: number;
  parent: number;
  /** `major:minor`, as st_dev has it. */
  device: string;
  path: string;
  type: string;
  source: string;
}

/** All mounts, oldest first: a later entry with the same path lies on top. */
export function mountTable(): MountEntry[] {
  return readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n").map(parseEntry);
}

/** The mount on top at exactly `path` (absolute, without symbolic links), if one is there. */
export function topMount(path: string): MountEntry | undefined {
  return mountTable().findLast((entry) => entry.path === path);
}

/** 36 35 98:0 /root /path options [optional fields] - type source superoptions */
function parseEntry(line: string): MountEntry {
  const [before, after] = line.split(" - ") as [string, string];
  const [id, parent, device, , path] = before.split(" ") as [string, string, string, string, string];
  const [type, source] = after.split(" ") as [string, string];
  return { id: Number(id), parent: Number(parent), device, path: unescaped(path), type, source: unescaped(source) };
}

/** Blank, tab, newline and backslash stand there in octal, as bytes of UTF-8. */
const unescaped = (text: string): string =>
  text.replace(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(parseInt(octal, 8)));
