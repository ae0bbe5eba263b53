/** qemu-img on images in the mount; what it made is judged again at home, after the unmount. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { expect, onTestFinished, type TestContext, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { run, succeed } from "../support/run.ts";
import { ISLANDS, ISLANDS_BYTES, sourceDirectory } from "./contents.ts";

interface Extent {
  start: number;
  length: number;
  data: boolean;
}

const TIMEOUT_MS = 60_000;

function qemuImg(...args: string[]): Promise<string> {
  return succeed("qemu-img", args);
}

/** Commands of qemu-io on `image`; a read whose pattern does not match fails too. */
async function qemuIo(image: string, format: string, ...commands: string[]): Promise<void> {
  const text = await succeed("qemu-io", [
    "-f",
    format,
    "-d",
    "unmap",
    ...commands.flatMap((command) => ["-c", command]),
    image,
  ]);
  expect(text).not.toMatch(/failed|error/i);
}

async function mounted(
  context: TestContext,
): Promise<{ daemon: Daemon; at: (name: string) => string; home: (name: string) => string }> {
  need(context, "root", "qemu-img", "qemu-io");
  const daemon = await mountHypegear({ args: ["--cache-size", "16M"] });
  return { daemon, at: (name) => join(daemon.mountpoint, name), home: (name) => join(daemon.backing, name) };
}

async function umounted(daemon: Daemon): Promise<void> {
  expect(await daemon.umount()).toMatchObject({ code: 0 });
}

const map = async (image: string, format: string): Promise<Extent[]> =>
  JSON.parse(await qemuImg("map", "--output=json", "-f", format, image)) as Extent[];

test.for(["none", "writeback"])(
  "convert and check agree there and back, with cache=%s",
  { timeout: TIMEOUT_MS },
  async (cache, context) => {
    const { daemon, at, home } = await mounted(context);
    const source = join(sourceDirectory(), "islands");
    const modes = ["-t", cache, "-T", cache];
    await qemuImg("convert", "-t", cache, "-f", "raw", "-O", "qcow2", source, at("a.qcow2"));
    await qemuImg("convert", ...modes, "-f", "qcow2", "-O", "raw", at("a.qcow2"), at("b.raw"));
    await qemuImg("convert", ...modes, "-c", "-f", "raw", "-O", "qcow2", at("b.raw"), at("small.qcow2"));
    await qemuImg("check", at("a.qcow2"));
    await qemuImg("compare", "-f", "raw", "-F", "raw", source, at("b.raw"));

    await umounted(daemon);

    for (const name of ["a.qcow2", "small.qcow2"]) {
      await qemuImg("check", home(name));
      await qemuImg("compare", "-f", "raw", "-F", "qcow2", source, home(name));
    }
    await succeed("cmp", [source, home("b.raw")]);
  },
);

test.for([
  ["raw", 3_000_320],
  ["qcow2", 3_145_728], // cuts at clusters only
] as const)(
  "resize of %s keeps the data, and what was cut off comes back as zeros",
  { timeout: TIMEOUT_MS },
  async ([format, kept], context) => {
    const { daemon, at, home } = await mounted(context);
    const image = at("disk");
    await qemuImg("create", "-q", "-f", format, image, "8M");
    await qemuIo(image, format, "write -P 0x5a 0 8M");
    await qemuImg("resize", "-q", "--shrink", "-f", format, image, String(kept));
    await qemuImg("resize", "-q", "-f", format, image, "1G");
    const right = [`read -P 0x5a 0 ${kept}`, `read -P 0 ${kept} 8M`, "read -P 0 1020M 4M"];
    await qemuIo(image, format, ...right, "write -P 0xa5 1023M 1M");

    await umounted(daemon);

    await qemuIo(home("disk"), format, right[0]!, right[1]!, "read -P 0xa5 1023M 1M");
    expect(JSON.parse(await qemuImg("info", "--output=json", "-f", format, home("disk")))).toMatchObject({
      "virtual-size": 2 ** 30,
    });
  },
);

test("snapshot creates, lists, applies and deletes, and the image stays whole", {
  timeout: TIMEOUT_MS,
}, async (context) => {
  const { daemon, at, home } = await mounted(context);
  const image = at("disk.qcow2");
  await qemuImg("create", "-q", "-f", "qcow2", image, "64M");
  await qemuIo(image, "qcow2", "write -P 1 0 20M", "flush");
  await qemuImg("snapshot", "-c", "first", image);
  await qemuIo(image, "qcow2", "write -P 2 5M 10M", "discard 0 1M", "flush");
  await qemuImg("snapshot", "-c", "second", image);
  expect(await qemuImg("snapshot", "-l", image)).toMatch(/first[^]*second/);
  await qemuImg("snapshot", "-a", "first", image);
  await qemuIo(image, "qcow2", "read -P 1 0 20M");
  await qemuImg("snapshot", "-d", "first", image);
  await qemuImg("snapshot", "-a", "second", image);

  await umounted(daemon);

  await qemuImg("check", home("disk.qcow2"));
  await qemuIo(home("disk.qcow2"), "qcow2", "read -P 1 1M 4M", "read -P 2 5M 10M", "read -P 1 15M 5M");
});

test("an overlay on a backing image commits into it", { timeout: TIMEOUT_MS }, async (context) => {
  const { daemon, at, home } = await mounted(context);
  await qemuImg("create", "-q", "-f", "raw", at("base.raw"), "32M");
  await qemuIo(at("base.raw"), "raw", "write -P 1 0 16M");
  await qemuImg("create", "-q", "-f", "qcow2", "-F", "raw", "-b", "base.raw", at("overlay.qcow2"));
  await qemuIo(at("overlay.qcow2"), "qcow2", "write -P 2 8M 16M");
  await qemuImg("commit", "-q", at("overlay.qcow2"));

  await umounted(daemon);

  await qemuIo(home("base.raw"), "raw", "read -P 1 0 8M", "read -P 2 8M 16M", "read -P 0 24M 8M");
});

test("map sees data that is not home yet, and holes that stay holes", { timeout: TIMEOUT_MS }, async (context) => {
  const { daemon, at, home } = await mounted(context);
  await qemuImg("create", "-q", "-f", "raw", at("disk.raw"), String(ISLANDS_BYTES));
  const writes = ISLANDS.map(([offset, length], index) => `write -P ${index + 1} ${offset} ${length}`);
  await qemuIo(at("disk.raw"), "raw", ...writes);

  const seen = await map(at("disk.raw"), "raw");
  await umounted(daemon);

  for (const [offset, length] of ISLANDS) expect(dataWithin(seen, offset, length)).toBe(length);
  for (const [offset, length] of [
    [8 * 2 ** 20, 8 * 2 ** 20],
    [20 * 2 ** 20, 8 * 2 ** 20],
  ] as const) {
    expect(dataWithin(seen, offset, length)).toBe(0);
    expect(dataWithin(await map(home("disk.raw"), "raw"), offset, length)).toBe(0);
  }
});

/** Bytes of [offset, offset + length) that `extents` call data. */
function dataWithin(extents: Extent[], offset: number, length: number): number {
  const overlaps = extents
    .filter((extent) => extent.data)
    .map((extent) => {
      const from = Math.max(extent.start, offset);
      return Math.max(0, Math.min(extent.start + extent.length, offset + length) - from);
    });
  return overlaps.reduce((sum, overlap) => sum + overlap, 0);
}

test("an image that a guest has open is locked against a second writer", { timeout: TIMEOUT_MS }, async (context) => {
  need(context, "qemu-system-x86_64");
  const { at } = await mounted(context);
  await qemuImg("create", "-q", "-f", "raw", at("disk.raw"), "1M");
  const guest = await pausedGuest(at("disk.raw"));

  const second = await run("qemu-io", ["-f", "raw", "-c", "write 0 512", at("disk.raw")]);

  expect(second.code).not.toBe(0);
  expect(second.stderr).toMatch(/Failed to get .*lock/);
  await guest.end();
  await qemuIo(at("disk.raw"), "raw", "write 0 512");
});

/** A QEMU that holds `image` open for writing and runs nothing. */
async function pausedGuest(image: string): Promise<{ end(): Promise<void> }> {
  const machine = ["-nodefaults", "-display", "none", "-accel", "tcg", "-S", "-qmp", "stdio"];
  const drive = ["-drive", `file=${image},format=raw,if=virtio`];
  const guest = spawn("qemu-system-x86_64", [...machine, ...drive], { stdio: ["pipe", "pipe", "inherit"] });
  const gone = once(guest, "exit");
  const end = async (): Promise<void> => {
    guest.kill("SIGKILL");
    await gone;
  };
  onTestFinished(end);
  guest.stdin.write('{"execute":"qmp_capabilities"}{"execute":"query-status"}');
  // The greeting comes before the disks are opened, from a thread of its own; the status is told by the main loop, after that.
  for await (const line of createInterface(guest.stdout)) if (line.includes('"prelaunch"')) break;
  return { end };
}
