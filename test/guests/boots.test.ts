/** Real guests on the mount: what they synced is there after a power cut, and at home in the image after the unmount. */
import { statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, type TestContext, test } from "vitest";
import { bootGuest, type GuestDisk, type GuestReport } from "../../src/cli/demo/guest.ts";
import { buildInitramfs } from "../../src/cli/demo/initramfs.ts";
import { findKernel } from "../../src/cli/demo/kernel.ts";
import { checkFilesystem, checkSums, reportedSums } from "../../src/cli/demo/proof.ts";
import { firstBoot, secondBoot, TRIMMED_BYTES } from "../../src/cli/demo/script.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { run, succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { needGuests } from "./need-guests.ts";

interface Case extends Omit<GuestDisk, "path"> {
  /** 1024 makes the guest write parts of the cache's blocks. */
  blockBytes: 1024 | 4096;
  /** The smaller ones are written through several times by one guest. */
  cacheSize: string;
}

const CASES: Case[] = [
  { format: "raw", cache: "none", aio: "native", blockBytes: 1024, cacheSize: "64M" },
  { format: "raw", cache: "none", aio: "io_uring", blockBytes: 4096, cacheSize: "16M" },
  { format: "raw", cache: "writeback", aio: "threads", blockBytes: 1024, cacheSize: "16M" },
  { format: "qcow2", cache: "none", aio: "native", blockBytes: 4096, cacheSize: "16M" },
  { format: "qcow2", cache: "none", aio: "io_uring", blockBytes: 1024, cacheSize: "64M" },
  { format: "qcow2", cache: "writeback", aio: "threads", blockBytes: 4096, cacheSize: "64M" },
];

/** Two boots take 15 s on an idle host. */
const TIMEOUT_MS = 240_000;

test.for(CASES)(
  "a guest on $format with cache=$cache,aio=$aio gets back what it synced, after a power cut and at home",
  { timeout: TIMEOUT_MS },
  async (row, context) => {
    needGuests(context, "root", "qemu-io");
    await needAio(context, row.aio);
    const daemon = await mountHypegear({ args: ["--cache-size", row.cacheSize] });
    const disk = await emptyDisk(daemon, row);

    await boot(context, disk, firstBoot(row.blockBytes));
    const report = await boot(context, disk, secondBoot());

    await expectAtHome(daemon, disk, report);
  },
);

test("a guest does not notice that the engine is killed under it", { timeout: TIMEOUT_MS }, async (context) => {
  needGuests(context, "root");
  const daemon = await mountHypegear();
  const disk = await emptyDisk(daemon, { format: "raw", cache: "none", aio: "native" });
  const kills: Promise<void>[] = [];
  const killEngine = (name: string): void => {
    if (name === "did") kills.push(daemon.kill("engine"));
  };

  await boot(context, disk, firstBoot(4096), killEngine);
  const report = await boot(context, disk, secondBoot(), killEngine);
  await Promise.all(kills);

  expect(daemon.stats().engine.restarts).toBeGreaterThanOrEqual(4);
  await expectAtHome(daemon, disk, report);
});

/** Skips where QEMU cannot use `aio` at all: containers often forbid io_uring. */
async function needAio(context: TestContext, aio: GuestDisk["aio"]): Promise<void> {
  const probe = join(scratchDirectory("aio"), "probe");
  await succeed("qemu-img", ["create", "-q", "-f", "raw", probe, "1M"]);
  const { code, stderr } = await run("qemu-io", ["-n", "-f", "raw", "-i", aio, "-c", "read 0 4096", probe]);
  context.skip(code !== 0, `QEMU cannot use aio=${aio} on this host: ${stderr.trim()}`);
}

async function emptyDisk(daemon: Daemon, kind: Omit<GuestDisk, "path">): Promise<GuestDisk> {
  const path = join(daemon.mountpoint, `disk.${kind.format}`);
  await succeed("qemu-img", ["create", "-q", "-f", kind.format, path, "256M"]);
  return { path, format: kind.format, cache: kind.cache, aio: kind.aio };
}

async function boot(
  context: TestContext,
  disk: GuestDisk,
  script: string,
  onFact: (name: string) => void = () => {},
): Promise<GuestReport> {
  const kernel = findKernel();
  const initramfs = join(scratchDirectory("guest"), "initramfs");
  writeFileSync(initramfs, buildInitramfs(kernel, script));
  const report = await bootGuest({ kernel: kernel.image, initramfs, disks: [disk], signal: context.signal, onFact });
  expect(report.console).not.toMatch(/I\/O error|EXT4-fs (error|warning)|hung_task/);
  return report;
}

/** Unmounts, and holds the image in the backing directory against what the guest reported. */
async function expectAtHome(daemon: Daemon, disk: GuestDisk, report: GuestReport): Promise<void> {
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  const home = join(daemon.backing, `disk.${disk.format}`);
  expect(statSync(home).blocks * 512).toBeLessThan(TRIMMED_BYTES); // else the guest's trim did not arrive
  const image = disk.format === "raw" ? home : await toRaw(home);
  await checkFilesystem(image);
  await checkSums(image, reportedSums(report));
}

async function toRaw(qcow2: string): Promise<string> {
  await succeed("qemu-img", ["check", qcow2]);
  const image = join(scratchDirectory("raw"), "disk.raw");
  await succeed("qemu-img", ["convert", "-f", "qcow2", "-O", "raw", qcow2, image]);
  return image;
}
