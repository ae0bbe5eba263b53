/** Faults 16 and 17: the journal's device fails. No promise is given on it again, and none that was given is broken. */
import { existsSync, lstatSync, mkdirSync, readFileSync, rmdirSync, symlinkSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { join } from "node:path";
import { expect, test } from "vitest";
import { readState } from "../keeper/stubbed.ts";
import { type Daemon, hypegear, mountHypegear } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { run, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";
import { waitFor } from "../support/wait.ts";
import { FAULTY_NEEDS, FaultyImage } from "./faulty.ts";

const BYTES = 4 << 20;

/** Writes `fill` at block `block` of `path` and flushes it. */
async function flushed(path: string, block: number, fill: number): Promise<void> {
  const file = await open(path, "r+");
  try {
    await file.write(Buffer.alloc(4096, fill), 0, 4096, block * 4096);
    await file.sync();
  } finally {
    await file.close();
  }
}

test("a failed journal is given up for good: flushes go home, and no recovery looks into it", async (context) => {
  need(context, ...FAULTY_NEEDS, "losetup");
  const disk = await FaultyImage.make(join(scratchDirectory("journal"), "disk"), 32 << 20);
  const device = (await succeed("losetup", ["--find", "--show", disk.path])).trim();
  testScope(() => run("losetup", ["--detach", device]));
  const backing = scratchDirectory("backing");
  const home = join(backing, "a.img");
  writeFileSync(home, Buffer.alloc(BYTES, 0x6f));
  const daemon = await mountHypegear({ backing, args: ["--journal", device, "--device", "hdd"] });
  const image = join(daemon.mountpoint, "a.img");
  await flushed(image, 1, 0x31);
  await flushed(image, 700, 0x31);
  expect(daemon.stats()).toMatchObject({ journal: { state: "ok" }, flushes: { requests: 2 } });

  disk.fail();
  await flushed(image, 2, 0x32);
  await flushed(image, 1, 0x32);
  expect(daemon.stats().journal.state).toBe("failed");
  expect(daemon.log).toMatch(
    /journal \/dev\/loop\d+: failed \(EIO\) and is given up: from now on each flush takes its image home/,
  );
  expect((await daemon.cli("stats")).stdout).toMatch(/journal {3}FAILED, and given up: flushes take their image home/);
  const expected = Buffer.alloc(BYTES, 0x6f);
  for (const [block, fill] of [
    [1, 0x32],
    [2, 0x32],
    [700, 0x31],
  ] as const)
    expected.fill(fill, block * 4096, (block + 1) * 4096);
  expect(readFileSync(home).equals(expected)).toBe(true);

  await waitFor("the journal to be declared void", () => existsSync(join(backing, ".hypegear/void")));
  await daemon.kill("engine");
  await flushed(image, 3, 0x33);
  expected.fill(0x33, 3 * 4096, 4 * 4096);
  expect(readFileSync(home).equals(expected)).toBe(true);

  await daemon.kill("both");
  await unmountLazily(daemon.mountpoint);
  await removeSlab(daemon.slab!);
  writeFileSync(join(backing, ".hypegear/state.json"), JSON.stringify({ ...readState(backing), bootId: "before" }));
  disk.heal();
  expect(await hypegear(["recover", backing])).toMatchObject({
    code: 0,
    stdout: `${backing}: nothing to bring home\n`,
  });
  expect(readFileSync(home).equals(expected)).toBe(true);
  expect(existsSync(join(backing, ".hypegear"))).toBe(false);
});

/** A mount with a journal on a filesystem of its own, which is then shut down: every call on the file fails, fstat(2) too. */
async function shutDown(): Promise<{ daemon: Daemon; image: string }> {
  const { directory } = await loopFilesystem("xfs", 320);
  const backing = scratchDirectory("backing");
  writeFileSync(join(backing, "a.img"), Buffer.alloc(BYTES, 0x6f));
  const args = ["--journal", join(directory, "journal"), "--journal-size", "16M", "--device", "hdd"];
  const daemon = await mountHypegear({ backing, args });
  const image = join(daemon.mountpoint, "a.img");
  await flushed(image, 1, 0x31);
  await flushed(image, 700, 0x31);
  await succeed("xfs_io", ["-x", "-c", "shutdown", directory]);
  return { daemon, image };
}

const SHUT_DOWN_NEEDS = ["root", "/dev/fuse", "losetup", "mkfs.xfs", "xfs_io"];

test("an engine that begins with a void journal does not look at it, and the mount ends well", async (context) => {
  need(context, ...SHUT_DOWN_NEEDS);
  const { daemon, image } = await shutDown();
  const [declared, other] = [join(daemon.backing, ".hypegear/void"), join(scratchDirectory("other"), "file")];
  writeFileSync(other, "another user's");
  symlinkSync(other, declared);
  await flushed(image, 2, 0x32);
  await waitFor("the journal to be declared void", () => lstatSync(declared).isFile());
  expect(readFileSync(other, "utf8")).toBe("another user's");
  await daemon.kill("engine");
  await flushed(image, 3, 0x33);
  expect(readFileSync(image)[3 * 4096]).toBe(0x33);
  expect(await daemon.umount()).toMatchObject({ code: 0, stderr: "" });
  expect(readFileSync(join(daemon.backing, "a.img")).subarray(4096, 4 * 4096)).toEqual(
    Buffer.concat([0x31, 0x32, 0x33].map((fill) => Buffer.alloc(4096, fill))),
  );
  expect(existsSync(join(daemon.backing, ".hypegear"))).toBe(false);
});

test("an engine that finds a failed journal unreadable takes everything home before it declares it void", async (context) => {
  need(context, ...SHUT_DOWN_NEEDS);
  const { daemon, image } = await shutDown();
  const home = join(daemon.backing, "a.img");
  const inTheWay = join(daemon.backing, ".hypegear/void");
  mkdirSync(inTheWay);
  await expect(flushed(image, 2, 0x32)).rejects.toThrow(/EISDIR|EIO/);
  await daemon.kill("engine");
  const file = await open(image, "r+");
  await file.write(Buffer.alloc(4096, 0x33), 0, 4096, 3 * 4096);
  await waitFor("all that there was to be home", () => readFileSync(home)[3 * 4096] === 0x33);
  rmdirSync(inTheWay);
  await waitFor("the journal to be declared void", () => existsSync(inTheWay));
  await file.sync();
  await file.close();
  expect(readFileSync(home)[700 * 4096]).toBe(0x31);
  expect(await daemon.umount()).toMatchObject({ code: 0, stderr: "" });
});
