/** Who keeps a mount busy. Found in /proc by mount id, so the mount itself is asked nothing. */
import { closeSync, openSync, readdirSync, readFileSync } from "node:fs";
import { O } from "../sys/constants.ts";
import { type MountEntry, mountTable } from "../sys/mount-table.ts";

/** At most `max` users in words: processes, loop devices, mounts below it. */
export function usersOf(mount: MountEntry, max: number): string[] {
  const users: string[] = mountTable()
    .filter((entry) => entry.parent === mount.id)
    .map((entry) => `a mount at ${entry.path}`);
  users.push(...loopsOn(mount.path));
  for (const pid of readdirSync("/proc").filter((name) => /^\d+$/.test(name))) {
    if (users.length >= max) break;
    if (uses(pid, mount)) users.push(`${nameOf(pid)} (pid ${pid})`);
  }
  return users.slice(0, max);
}

/**
 * A process whose mount namespace still has the mount after it was unmounted here: a container that was started meanwhile.
 * It keeps the whole mount alive.
 */
export function keptByNamespace(mount: MountEntry): string | undefined {
  const isOfMount = (line: string): boolean => line.includes(` ${mount.device} `) && line.includes(` ${mount.type} `);
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  const pid = pids.find((name) =>
    attempt(() => readFileSync(`/proc/${name}/mountinfo`, "utf8").split("\n").some(isOfMount), false),
  );
  return pid === undefined ? undefined : `${nameOf(pid)} (pid ${pid})`;
}

/** Processes end and forbid while we look: what cannot be read counts as not using. */
function attempt<T>(read: () => T, otherwise: T): T {
  try {
    return read();
  } catch {
    return otherwise;
  }
}

function uses(pid: string, mount: MountEntry): boolean {
  const isOfMount = (fdinfo: string): boolean => Number(/^mnt_id:\s*(\d+)$/m.exec(fdinfo)?.[1]) === mount.id;
  const opened = attempt(() => readdirSync(`/proc/${pid}/fdinfo`), []);
  return (
    opened.some((fd) => attempt(() => isOfMount(readFileSync(`/proc/${pid}/fdinfo/${fd}`, "latin1")), false)) ||
    ["cwd", "root"].some((link) => attempt(() => isOfMount(fdinfoOf(`/proc/${pid}/${link}`)), false)) ||
    attempt(() => readFileSync(`/proc/${pid}/maps`, "latin1").includes(` ${hexDevice(mount.device)} `), false)
  );
}

/** The kernel's word on where `path` leads, without a request to the filesystem there. */
function fdinfoOf(path: string): string {
  const fd = openSync(path, O.PATH | O.CLOEXEC);
  const text = readFileSync(`/proc/self/fdinfo/${fd}`, "latin1");
  closeSync(fd);
  return text;
}

/** `0:53` as /proc/PID/maps has it: `00:35`. */
const hexDevice = (device: string): string =>
  device
    .split(":")
    .map((part) => Number(part).toString(16).padStart(2, "0"))
    .join(":");

const nameOf = (pid: string): string => attempt(() => readFileSync(`/proc/${pid}/comm`, "utf8").trim(), "a process");

const loopsOn = (mountpoint: string): string[] =>
  readdirSync("/sys/block")
    .filter((name) => name.startsWith("loop"))
    .filter((name) =>
      attempt(() => readFileSync(`/sys/block/${name}/loop/backing_file`, "utf8"), "").startsWith(`${mountpoint}/`),
    )
    .map((name) => `loop device /dev/${name}`);
