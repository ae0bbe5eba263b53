/**
 * Mounting and unmounting: as root by mount(2) and umount2(2), else through fusermount3, which is setuid root and passes the
 * open /dev/fuse back over a socket.
 */
import { spawn, spawnSync } from "node:child_process";
import { closeSync, fstatSync, openSync, statfsSync, statSync } from "node:fs";
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { REQUEST_BYTES_MAX } from "../base/limits.ts";
import { O } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { type MountEntry, mountTable, topMount } from "../sys/mount-table.ts";
import { receiveDescriptor, socketPair } from "../sys/pass-descriptor.ts";
import { umountAside } from "../sys/unmount.ts";

export const FILESYSTEM_TYPE = "fuse.hypegear";
const DEVICE = "/dev/fuse";
/** Character device 10:229 as st_rdev. */
const DEVICE_NUMBER = 10 * 256 + 229;
const MS_NOSUID = 2;
const MS_NODEV = 4;
const MS_NOEXEC = 8;
const MNT_DETACH = 2;
const UMOUNT_NOFOLLOW = 8;
const F_SETFL = 4;

export interface MountRequest {
  /** Real path of the backing directory: the mount's source. */
  backing: string;
  /** Real path of the directory to mount over. */
  mountpoint: string;
  /** Let users other than the mounting one in. */
  allowOther: boolean;
  /** No program can be run from it. */
  noexec: boolean;
}

/** Mounts and returns the non-blocking /dev/fuse descriptor that serves the mount. Throws a `Failure`; then nothing is mounted. */
export function mountFuse(request: MountRequest): number {
  return process.getuid!() === 0 ? mountAsRoot(request) : mountAsUser(request);
}

/**
 * Unmounts the topmost mount at `mountpoint`. `detach`: at once, whoever still uses it keeps being served. 0, or a negated
 * error number: -EBUSY when it is in use and `detach` is false.
 */
export function unmountFuse(mountpoint: string, detach: boolean): number {
  if (process.getuid!() === 0) {
    return libc.umount2(utf8(mountpoint), (detach ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW);
  }
  const run = spawnSync("fusermount3", [detach ? "-uzq" : "-u", "--", mountpoint], { encoding: "utf8" });
  if (run.error !== undefined) return -E.ENOENT;
  if (run.status === 0) return 0;
  return /busy/i.test(run.stderr) ? -E.EBUSY : -E.EPERM;
}

/**
 * Unmounts the topmost mount at `mountpoint`, as `unmountFuse` does, without waiting in the call: it may need the engine's answers, and
 * the engine may need to be started again meanwhile. Resolves when it was tried.
 */
export async function unmountAside(mountpoint: string, detach: boolean): Promise<void> {
  if (process.getuid!() === 0) return umountAside(mountpoint, (detach ? MNT_DETACH : 0) | UMOUNT_NOFOLLOW);
  return new Promise((resolve) => {
    const helper = spawn("fusermount3", [detach ? "-uzq" : "-uq", "--", mountpoint], { stdio: "ignore" });
    helper.once("error", () => resolve()).once("close", () => resolve());
  });
}

/** True if `entry` is a mount of this program. */
export const isOurs = (entry: MountEntry | undefined): entry is MountEntry => entry?.type === FILESYSTEM_TYPE;

/**
 * True if nothing serves the mount on top at `path` any more. Waits while an engine is being restarted. By statfs(2), which
 * the kernel always asks for: attributes it may still know from before the death.
 */
export function isDead(path: string): boolean {
  try {
    statfsSync(path);
    return false;
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code;
    return code === "ENOTCONN" || code === "ECONNABORTED";
  }
}

/** How many mounts of this program lie on top of each other at `path`, of which the topmost is dead; 0: it is not, or none is there. */
export function deadMounts(path: string): number {
  const table = mountTable();
  let top = table.findLast((entry) => entry.path === path);
  if (!isOurs(top) || !isDead(path)) return 0;
  let count = 0;
  for (; isOurs(top) && top.path === path; count++) {
    const { parent }: MountEntry = top;
    top = table.find((entry) => entry.id === parent);
  }
  return count;
}

/** Detaches every dead mount of this program from the top of `path`. The number detached. */
export function detachStale(path: string): number {
  let detached = 0;
  while (isOurs(topMount(path)) && isDead(path) && unmountFuse(path, true) === 0) detached++;
  return detached;
}

/** The mount of this program with this id, where it is by now: a directory above it may have been renamed. Undefined: it is unmounted. */
export const mountOf = (id: number): MountEntry | undefined =>
  mountTable().find((entry) => entry.id === id && isOurs(entry));

function mountAsRoot({ backing, mountpoint, allowOther, noexec }: MountRequest): number {
  const fd = openDevice();
  const options = [
    `fd=${fd},rootmode=40000,user_id=${process.getuid!()},group_id=${process.getgid!()}`,
    `default_permissions,max_read=${REQUEST_BYTES_MAX}`,
    ...(allowOther ? ["allow_other"] : []),
  ].join(",");
  const result = libc.mount(
    utf8(backing),
    utf8(mountpoint),
    utf8(FILESYSTEM_TYPE),
    MS_NOSUID | MS_NODEV | (noexec ? MS_NOEXEC : 0),
    utf8(options),
  );
  if (result === 0) return fd;
  closeSync(fd);
  throw mountRefused(mountpoint, result);
}

function mountRefused(mountpoint: string, result: number): Failure {
  if (result === -E.EPERM || result === -E.EACCES) {
    const todo = "run as root, or in a container with CAP_SYS_ADMIN";
    return new Failure(
      `mount ${mountpoint}: the kernel does not permit it (${errnoName(result)}); ${todo}`,
      ExitCode.forbidden,
    );
  }
  if (result === -E.ENODEV) {
    return new Failure(`mount ${mountpoint}: this kernel has no FUSE; load it with: modprobe fuse`);
  }
  return new Failure(`mount ${mountpoint}: refused by the kernel (${errnoName(result)}); see dmesg`);
}

function openDevice(): number {
  let fd: number;
  try {
    fd = openSync(DEVICE, O.RDWR | O.NONBLOCK | O.CLOEXEC);
  } catch (error) {
    throw deviceRefused((error as NodeJS.ErrnoException).code ?? "unknown error", error);
  }
  if (fstatSync(fd).rdev === DEVICE_NUMBER) return fd;
  closeSync(fd);
  throw new Failure(`${DEVICE}: is not the FUSE device; make it with: mknod ${DEVICE} c 10 229`);
}

function deviceRefused(code: string, cause: unknown): Failure {
  if (code === "EACCES" || code === "EPERM") {
    const todo =
      "run as root, or let users open it: chmod 666 /dev/fuse (in a container, start it with --device /dev/fuse)";
    return new Failure(`${DEVICE}: may not be opened (${code}); ${todo}`, ExitCode.forbidden, cause);
  }
  const todo = "load FUSE with: modprobe fuse (in a container, start it with --device /dev/fuse)";
  return new Failure(`${DEVICE}: is missing (${code}); ${todo}`, ExitCode.failed, cause);
}

function mountAsUser({ backing, mountpoint, allowOther, noexec }: MountRequest): number {
  checkDeviceExists();
  const [ours, theirs] = socketPair();
  try {
    const options = [
      `fsname=${escaped(backing)},subtype=hypegear,nosuid,nodev,default_permissions,max_read=${REQUEST_BYTES_MAX}`,
      ...(allowOther ? ["allow_other"] : []),
      ...(noexec ? ["noexec"] : []),
    ].join(",");
    const run = spawnSync("fusermount3", ["-o", options, "--", mountpoint], {
      encoding: "utf8",
      env: { ...process.env, _FUSE_COMMFD: "3" },
      stdio: ["ignore", "ignore", "pipe", theirs],
    });
    if (run.error !== undefined) {
      throw new Failure(
        "fusermount3: cannot be run; install the package fuse3, or mount as root",
        ExitCode.failed,
        run.error,
      );
    }
    if (run.status !== 0) throw helperRefused(mountpoint, run.stderr);
    return received(ours, mountpoint);
  } finally {
    closeSync(ours);
    closeSync(theirs);
  }
}

/** fusermount3 says less well what is wrong with the device. */
function checkDeviceExists(): void {
  try {
    statSync(DEVICE);
  } catch (error) {
    throw deviceRefused((error as NodeJS.ErrnoException).code ?? "unknown error", error);
  }
}

function helperRefused(mountpoint: string, stderr: string): Failure {
  const why =
    stderr
      .trim()
      .split("\n")[0]
      ?.replace(/^fusermount3: /, "") ?? "";
  if (/open .*fuse.*denied/i.test(why)) return deviceRefused("EACCES", why);
  const forbidden = /permi|allowed|no write access|not owned/i.test(why);
  const todo = forbidden ? "ask for the right, or mount as root" : "see dmesg";
  return new Failure(
    `mount ${mountpoint}: fusermount3 refused: ${why}; ${todo}`,
    forbidden ? ExitCode.forbidden : ExitCode.failed,
  );
}

function received(socket: number, mountpoint: string): number {
  const fd = receiveDescriptor(socket);
  if (fd < 0) throw new Failure(`mount ${mountpoint}: fusermount3 passed no descriptor; is it of libfuse 3?`);
  libc.fcntl(fd, F_SETFL, O.RDWR | O.NONBLOCK);
  return fd;
}

const utf8 = (text: string): Buffer => Buffer.from(`${text}\0`);

/** fusermount3 takes a comma or a backslash of a value with a backslash before it. */
const escaped = (path: string): string => path.replace(/[\\,]/g, "\\$&");
