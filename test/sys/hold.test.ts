import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdirSync, openSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import * as libc from "../../src/sys/libc.ts";
import { need } from "../support/need.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";

const MiB = 2 ** 20;
/** Longer than a write that was under way could still take, milliseconds. */
const SETTLE_MS = 1500;
const LOCK_EX = 2;
const CGROUPS = "/sys/fs/cgroup/blkio";
const THROTTLE = "blkio.throttle.write_bps_device";
const program = fileURLToPath(new URL("../../dist/test/sys/killed-writer.js", import.meta.url));

/** A loop device over `image`. */
function loopDevice(image: string): string {
  const device = execFileSync("losetup", ["--find", "--show", image], { encoding: "utf8" }).trim();
  testScope(() => execFileSync("losetup", ["--detach", device]));
  return device;
}

/** A control group whose members write to `device` at 4 MB/s; its path. */
function slowGroup(device: string): string {
  const group = join(CGROUPS, `hypegear-test-${process.pid}-${Date.now()}`);
  mkdirSync(group);
  testScope(() => rmdirSync(group));
  const number = execFileSync("lsblk", ["--noheadings", "--nodeps", "--output", "MAJ:MIN", device], {
    encoding: "utf8",
  });
  writeFileSync(join(group, THROTTLE), `${number.trim()} 4000000\n`);
  return group;
}

/** Starts the writer in the group, and returns once it was killed, and reaped, amid its writes. */
async function killAmidWrites(kind: string, device: string, lock: string, group: string): Promise<void> {
  const enter = `echo $$ > ${group}/cgroup.procs && exec "$@"`;
  const child = spawn("sh", ["-c", enter, "sh", process.execPath, program, kind, device, lock], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  const exit = once(child, "exit");
  testScope(() => child.kill("SIGKILL"));
  await once(child.stdout, "data");
  child.kill("SIGKILL");
  await exit;
}

/** How many blocks of 4 KiB of `image` the writer has written. */
function landed(image: string): number {
  const content = readFileSync(image);
  let blocks = 0;
  for (let at = 0; at < content.length; at += 4096) if (content[at] === 0x55) blocks += 1;
  return blocks;
}

const sentence = "fault 1: after a kill, no direct write of %s lands once the held lock is had";
test.for(["uring", "threads"])(sentence, async (kind, context) => {
  need(context, "root", "losetup", "lsblk", join(CGROUPS, THROTTLE));
  const directory = scratchDirectory("hold");
  const image = join(directory, "image");
  const lock = join(directory, "lock");
  writeFileSync(image, Buffer.alloc(4 * MiB, 0xaa));
  const device = loopDevice(image);
  await killAmidWrites(kind, device, lock, slowGroup(device));
  const atDeath = landed(image);
  const fd = openSync(lock, "w");
  testScope(() => closeSync(fd));
  expect(libc.flock(fd, LOCK_EX)).toBe(0);
  const atLock = landed(image);
  await setTimeout(SETTLE_MS);
  expect(landed(image)).toBe(atLock);
  if (kind === "uring") expect(atLock).toBeGreaterThan(atDeath); // else the lock had nothing to wait for
});
