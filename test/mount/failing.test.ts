/** Devices that fail or hang: nothing accepted is lost, errors are told to those whom they concern, and to nobody else. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import type { ImageDocument } from "../../src/stats/document.ts";
import { mountHypegear } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";
import { type Outcome, run, succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { FAULTY_NEEDS, FaultyImage } from "./faulty.ts";
import { expectSame, fsync, imagesOf, MiB, mibWritten, noise, statsOf, write } from "./files.ts";

test("EIO below: fsync tells it, the data stays, stats show it, and it goes home when the fault is over", async (context) => {
  need(context, ...FAULTY_NEEDS, "python3");
  const backing = scratchDirectory("backing");
  const source = await noise(8);
  const image = await FaultyImage.make(join(backing, "sick"), 8 * MiB);
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "64M"] });
  const [sick, well] = [join(daemon.mountpoint, "sick"), join(daemon.mountpoint, "well")];
  expect(await write(source, sick, 0, 4, "conv=fsync")).toMatchObject({ code: 0 });

  image.fail();
  expect(await write(source, sick, 2, 6)).toMatchObject({ code: 0 });
  expect(await write(source, well, 0, 8, "conv=fsync")).toMatchObject({ code: 0 });
  const failed = await fsync(sick);

  expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/Input\/output error/) as string });
  const stats = await statsOf(daemon);
  expect(stats.images.failing).toBe(1);
  expect(stats.writeback.errors).toBeGreaterThan(0);
  expect(stats.dirty.blocks).toBe((6 * MiB) / 4096);
  const { images } = await imagesOf(daemon);
  expect(images.find(({ path }) => path === "sick")).toMatchObject({ failing: true, last_error: "EIO" });
  expect(images.find(({ path }) => path === "well")?.failing ?? false).toBe(false);
  expect(await fsync(well)).toMatchObject({ code: 0 });

  const refused = await daemon.cli("umount");
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/EIO/) as string });
  expect((await statsOf(daemon)).dirty.blocks).toBe((6 * MiB) / 4096);

  image.heal();
  await expectSame(sick, source);
  expect(await fsync(sick)).toMatchObject({ code: 0 });
  await waitFor("the image to be well again", async () => (await statsOf(daemon)).images.failing === 0);
  const healed = await imagesOf(daemon);
  expect(healed.images.find(({ path }) => path === "sick")).toMatchObject({ failing: false, last_error: "" });
  await expectSame(image.path, source);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(image.path, source);
  await expectSame(join(backing, "well"), source);
});

test("the error of a file that was removed is not told of the next one", async (context) => {
  need(context, "root", "/dev/fuse", "losetup", "mkfs.ext4", "chattr");
  const { directory } = await loopFilesystem("ext4", 64);
  const daemon = await mountHypegear({ backing: directory });
  const rowOf = async (name: string): Promise<ImageDocument | undefined> =>
    (await imagesOf(daemon)).images.find(({ path }) => path === name);
  const [removed, next] = [join(daemon.mountpoint, "removed"), join(daemon.mountpoint, "next")];
  expect(await run("dd", ["if=/dev/zero", `of=${removed}`, "bs=4k", "count=1"])).toMatchObject({ code: 0 });
  await succeed("chattr", ["+i", join(directory, "removed")]);
  expect(await daemon.cli("flush", "removed")).toMatchObject({ code: 1 });
  expect(await rowOf("removed")).toMatchObject({ failing: true, last_error: "EPERM" });
  await succeed("chattr", ["-i", join(directory, "removed")]);

  await succeed("rm", [removed]);
  expect(await run("dd", ["if=/dev/zero", `of=${next}`, "bs=4k", "count=1"])).toMatchObject({ code: 0 });

  expect(await rowOf("next")).toMatchObject({ failing: false, last_error: "" });
  expect(await daemon.umount()).toMatchObject({ code: 0 });
});

test("a fault while the mount is gone already: the daemon tries until it is over, and loses nothing", async (context) => {
  need(context, ...FAULTY_NEEDS);
  const backing = scratchDirectory("backing");
  const source = await noise(8);
  const image = await FaultyImage.make(join(backing, "sick"), 8 * MiB);
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "64M"] });
  image.fail();
  expect(await write(source, join(daemon.mountpoint, "sick"), 0, 8)).toMatchObject({ code: 0 });

  expect(await run("umount", ["-l", daemon.mountpoint])).toMatchObject({ code: 0 });
  await sleep(1500);
  await daemon.kill("engine");
  await sleep(500);
  image.heal();

  expect(await daemon.ended).toMatchObject({ code: 0 });
  await expectSame(image.path, source);
});

test("a failing image takes its share of the cache and no more: writers beyond it get EIO, others go on", async (context) => {
  need(context, ...FAULTY_NEEDS);
  const backing = scratchDirectory("backing");
  const source = await noise(48);
  const image = await FaultyImage.make(join(backing, "sick"), 48 * MiB);
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "16M"] });
  image.fail();

  const outcome = await write(source, join(daemon.mountpoint, "sick"), 0, 48);

  expect(outcome).toMatchObject({ code: 1, stderr: expect.stringMatching(/Input\/output error/) as string });
  expect(await write(source, join(daemon.mountpoint, "well"), 0, 48, "conv=fsync")).toMatchObject({ code: 0 });
  image.heal();
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(backing, "well"), source);
  await expectSame(image.path, source, mibWritten(outcome) * MiB);
});

test("a block of which only a part was written is never filled with anything but what is home", async (context) => {
  need(context, ...FAULTY_NEEDS);
  const backing = scratchDirectory("backing");
  const source = await noise(8);
  const image = await FaultyImage.make(join(backing, "sick"), 8 * MiB);
  const daemon = await mountHypegear({ backing });
  const sick = join(daemon.mountpoint, "sick");
  expect(await write(source, sick, 0, 8, "conv=fsync")).toMatchObject({ code: 0 });
  const patch = (file: string): Promise<Outcome> =>
    run("dd", [`of=${file}`, "bs=1", `seek=${4096 * 100 + 5}`, "conv=notrunc"], { input: "patched" });
  const copy = join(scratchDirectory("copy"), "copy");
  await run("cp", [source, copy]);

  image.fail();
  expect(await patch(sick)).toMatchObject({ code: 0 });
  expect(await run("dd", [`if=${sick}`, "of=/dev/null", "bs=4k", "skip=100", "count=1"])).toMatchObject({ code: 1 });
  await daemon.kill("engine");
  expect(await run("dd", [`if=${sick}`, "of=/dev/null", "bs=4k", "skip=100", "count=1"])).toMatchObject({ code: 1 });
  image.heal();

  await patch(copy);
  await expectSame(sick, copy);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(image.path, copy);
});

test("with --cache off, EIO is told at the write, and to no other image", async (context) => {
  need(context, ...FAULTY_NEEDS);
  const backing = scratchDirectory("backing");
  const source = await noise(8);
  const image = await FaultyImage.make(join(backing, "sick"), 8 * MiB);
  const daemon = await mountHypegear({ backing, args: ["--cache", "off"] });
  image.fail();
  const failed = await write(source, join(daemon.mountpoint, "sick"), 0, 8);
  expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/Input\/output error/) as string });
  expect(await write(source, join(daemon.mountpoint, "well"), 0, 8, "conv=fsync")).toMatchObject({ code: 0 });

  image.heal();
  expect(await write(source, join(daemon.mountpoint, "sick"), 0, 8, "conv=fsync")).toMatchObject({ code: 0 });
  await expectSame(image.path, source);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
});
