import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { bootGuest, type GuestBoot, type GuestReport } from "../../../src/cli/demo/guest.ts";
import { buildInitramfs } from "../../../src/cli/demo/initramfs.ts";
import { findKernel } from "../../../src/cli/demo/kernel.ts";
import { needGuests } from "../../guests/need-guests.ts";
import { scratchDirectory } from "../../support/scratch.ts";

const BOOT_MS = 120_000;

async function boot(script: string, more: Partial<GuestBoot> = {}): Promise<GuestReport> {
  const folder = scratchDirectory("guest");
  const initramfs = join(folder, "initramfs");
  const path = join(folder, "disk,with,commas");
  const kernel = findKernel();
  writeFileSync(initramfs, buildInitramfs(kernel, script));
  writeFileSync(path, "");
  truncateSync(path, 2 ** 24);
  const disks = [{ path, format: "raw", cache: "writeback", aio: "threads" } as const];
  return bootGuest({ kernel: kernel.image, initramfs, disks, ...more });
}

test("a guest reports facts, the last value of each name, and its disk's size", {
  timeout: BOOT_MS,
}, async (context) => {
  needGuests(context);
  const heard: string[] = [];
  const report = await boot(`fact same one\nfact same two three\nfact size $(cat /sys/block/vda/size)`, {
    onFact: (name, value) => heard.push(`${name}=${value}`),
  });
  expect(heard).toEqual(["same=one", "same=two three", "size=32768", "status=0"]);
  expect(report.facts.get("same")).toBe("two three");
});

test("a script that fails is a failure that shows the end of the console", { timeout: BOOT_MS }, async (context) => {
  needGuests(context);
  const booted = boot(`echo "about to fail"\nfalse\nfact never reached`);
  await expect(booted).rejects.toThrow(/its script ended with status 1; the end of its console:[^]*about to fail/);
});

test("a guest that does not power off is ended and said so", { timeout: BOOT_MS }, async (context) => {
  needGuests(context);
  await expect(boot("sleep 1000", { timeoutMs: 1500 })).rejects.toThrow("no power off within 1.5 s");
});

test("an aborted guest is ended at once", { timeout: BOOT_MS }, async (context) => {
  needGuests(context);
  const interrupt = new AbortController();
  const onFact = (): void => interrupt.abort();
  await expect(boot("fact up now\nsleep 1000", { signal: interrupt.signal, onFact })).rejects.toThrow("interrupted");
});
