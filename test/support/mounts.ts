/** The host's mounts and loop devices, as the kernel tells them. */
import { readFileSync } from "node:fs";
import { run } from "./run.ts";

export interface MountEntry {
  mountpoint: string;
  /** For example `ext4`, `fuse.hypegear`. */
  type: string;
  source: string;
}

/** All mounts of this mount namespace, the oldest first. */
export function mounts(): MountEntry[] {
  return readFileSync("/proc/self/mountinfo", "utf8").trimEnd().split("\n").map(parse);
}

/** `36 35 98:0 /root /mnt rw,noatime master:1 - ext4 /dev/sda rw` */
function parse(line: string): MountEntry {
  const [head, tail] = line.split(" - ");
  const [type = "", source = ""] = tail!.split(" ");
  return { mountpoint: unescaped(head!.split(" ")[4]!), type, source: unescaped(source) };
}

/** Blanks and backslashes stand there as three octal digits. */
const unescaped = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_, octal: string) => String.fromCharCode(Number.parseInt(octal, 8)));

/** True while a hypegear is mounted on `mountpoint`. */
export const isHypegearMount = (mountpoint: string): boolean =>
  mounts()
    .findLast((entry) => entry.mountpoint === mountpoint)
    ?.type.startsWith("fuse") === true;

/** Takes every mount off `mountpoint`, however busy or dead: for clean-up only. */
export async function unmountLazily(mountpoint: string): Promise<void> {
  while (mounts().some((entry) => entry.mountpoint === mountpoint)) {
    const { code, stderr } = await run("umount", ["-l", mountpoint]);
    if (code !== 0) throw new Error(`umount -l ${mountpoint}: ${stderr}`);
  }
}

/** Loop devices whose backing file lies below `root`, also when the file is deleted. */
export async function loopDevices(root: string): Promise<string[]> {
  const { stdout } = await run("losetup", ["--list", "--noheadings", "--raw", "--output", "NAME,BACK-FILE"]);
  return stdout
    .split("\n")
    .filter((line) => line.includes(` ${root}/`))
    .map((line) => line.split(" ")[0]!);
}
