/** Fault 26: a device hangs. What lies on it waits, all else is served, and the fact is told. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { type Outcome, run, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { FAULTY_NEEDS, FaultyImage } from "./faulty.ts";
import { expectSame, fsync, imagesOf, MiB, noise, statsOf, write } from "./files.ts";

const IOS = ["uring", "threads"];

/** Mounted at `directory`: an ext4 of `mib` MiB on a device that can hang. */
async function filesystemAt(directory: string, mib: number): Promise<FaultyImage> {
  const disk = await FaultyImage.make(join(scratchDirectory("device"), "disk"), mib * MiB);
  const device = (await succeed("losetup", ["--find", "--show", disk.path])).trim();
  testScope(() => run("losetup", ["--detach", device]));
  await succeed("mkfs.ext4", ["-q", device]);
  mkdirSync(directory);
  await succeed("mount", [device, directory]);
  testScope(() => unmountLazily(directory));
  return disk;
}

const isStalled = async (daemon: Daemon, name: string): Promise<boolean | undefined> => {
  const { images } = await imagesOf(daemon);
  return images.find(({ path }) => path === name)?.stalled;
};

test.for(IOS)("data of a hanging image waits; others are read and written (--io %s)", async (io, context) => {
  need(context, ...FAULTY_NEEDS);
  const backing = scratchDirectory("backing");
  const source = await noise(32);
  const image = await FaultyImage.make(join(backing, "stuck"), 8 * MiB);
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "32M", "--io", io] });
  await image.hang();
  expect(await write(source, join(daemon.mountpoint, "stuck"), 0, 8)).toMatchObject({ code: 0 });
  const flushed = write(source, join(daemon.mountpoint, "stuck"), 0, 1, "conv=fsync");

  expect(await write(source, join(daemon.mountpoint, "well"), 0, 32, "conv=fsync")).toMatchObject({ code: 0 });
  await expectSame(join(daemon.mountpoint, "well"), source);
  expect((await statsOf(daemon)).dirty.blocks).toBeGreaterThanOrEqual((8 * MiB) / 4096);

  await image.resume();
  expect(await flushed).toMatchObject({ code: 0 });
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(backing, "well"), source);
  await expectSame(image.path, source, 8 * MiB);
});

/*
 * 1. reads keep all threads of the image's server   2. the flush at home waits for one, with the file's lock   3. so does the next home write
 */
test.for(IOS)("a flush that hangs at home with the file's lock holds up nobody else (--io %s)", async (io, context) => {
  need(context, ...FAULTY_NEEDS);
  const backing = scratchDirectory("backing");
  const source = await noise(32);
  const image = await FaultyImage.make(join(backing, "stuck"), 8 * MiB);
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "128M", "--io", io, "--max-age", "1"] });
  const [stuck, well] = [join(daemon.mountpoint, "stuck"), join(daemon.mountpoint, "well")];
  expect(await write(source, stuck, 0, 8)).toMatchObject({ code: 0 });
  expect(await daemon.cli("flush", stuck)).toMatchObject({ code: 0 });
  await image.hang();
  const reads = [0, 2, 4, 6].map((at) => run("dd", [`if=${stuck}`, "of=/dev/null", "bs=1M", "count=2", `skip=${at}`]));
  await sleep(500);
  const flushed = daemon.cli("flush", stuck);
  await sleep(500);
  expect(await write(source, stuck, 0, 8)).toMatchObject({ code: 0 });
  await waitFor("the writer to begin", async () => (await statsOf(daemon)).writeback.inflight > 0);

  expect(await write(source, well, 0, 32, "conv=fsync")).toMatchObject({ code: 0 });
  await expectSame(well, source);

  await image.resume();
  for (const read of reads) expect(await read).toMatchObject({ code: 0 });
  expect(await flushed).toMatchObject({ code: 0 });
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(image.path, source, 8 * MiB);
});

test.for(IOS)(
  "more than all home writes in a device that hangs: it is told, and others go home (--io %s)",
  async (io, context) => {
    need(context, ...FAULTY_NEEDS);
    const backing = scratchDirectory("backing");
    const source = await noise(64);
    const image = await FaultyImage.make(join(backing, "stuck"), 64 * MiB);
    const daemon = await mountHypegear({ backing, args: ["--cache-size", "256M", "--io", io] });
    const [stuck, well] = [join(daemon.mountpoint, "stuck"), join(daemon.mountpoint, "well")];
    await image.hang();
    expect(await write(source, stuck, 0, 64)).toMatchObject({ code: 0 });
    const flushed = fsync(stuck);
    await waitFor("all home writes to hang", async () => (await statsOf(daemon)).writeback.inflight === 16);

    expect(await write(source, well, 0, 32, "conv=fsync")).toMatchObject({ code: 0 });
    expect(await daemon.cli("flush", well)).toMatchObject({ code: 0 });
    await expectSame(join(backing, "well"), source, 32 * MiB);
    await waitFor("it to be told of", async () => (await isStalled(daemon, "stuck")) === true);
    expect(await isStalled(daemon, "well")).toBe(false);
    expect((await statsOf(daemon)).images).toMatchObject({ stalled: 1, failing: 0 });
    expect(daemon.log).toMatch(/home of stuck has not answered for 5 s: its data waits, other devices are served/);

    await image.resume();
    expect(await flushed).toMatchObject({ code: 0 });
    await waitFor("the image to be well again", async () => (await isStalled(daemon, "stuck")) !== true);
    expect(daemon.log).toMatch(/home of stuck answers again/);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    await expectSame(image.path, source);
  },
);

test.for(IOS)("a cache full of what hangs leaves room to others (--io %s)", async (io, context) => {
  need(context, ...FAULTY_NEEDS, "losetup", "mkfs.ext4");
  const backing = scratchDirectory("backing");
  const source = await noise(128);
  const disk = await filesystemAt(join(backing, "slow"), 192);
  const home = join(backing, "slow", "stuck");
  await succeed("cp", [source, home]);
  await succeed("sync", ["-f", home]);
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "64M", "--io", io] });
  const [stuck, well] = [join(daemon.mountpoint, "slow", "stuck"), join(daemon.mountpoint, "well")];
  await disk.hang();
  const flushed = write(source, stuck, 0, 128, "conv=fsync");
  await waitFor("its writer to wait", async () => (await statsOf(daemon)).pressure.waiting_requests > 0);
  // Their payloads are more than what is free of the cache.
  const more = Array.from({ length: 24 }, (_, i) => write(source, stuck, 4 * i, 1, "oflag=direct"));

  expect(await write(source, well, 0, 128, "conv=fsync")).toMatchObject({ code: 0 });
  await expectSame(well, source);
  expect(await daemon.cli("flush", well)).toMatchObject({ code: 0 });
  await expectSame(join(backing, "well"), source);

  await disk.resume();
  expect(await flushed).toMatchObject({ code: 0 });
  for (const one of more) expect(await one).toMatchObject({ code: 0 });
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(home, source);
});

test.for(IOS)("reads that hang keep no memory of others, and are told of (--io %s)", async (io, context) => {
  need(context, ...FAULTY_NEEDS, "losetup", "mkfs.ext4");
  const backing = scratchDirectory("backing");
  const source = await noise(64);
  const disk = await filesystemAt(join(backing, "slow"), 128);
  for (const home of [join(backing, "slow", "stuck"), join(backing, "well")]) await succeed("cp", [source, home]);
  await succeed("sync", ["-f", join(backing, "slow")]);
  const daemon = await mountHypegear({ backing, args: ["--io", io] });
  const read = (name: string, at: number): Promise<Outcome> =>
    run("dd", [
      `if=${join(daemon.mountpoint, name)}`,
      "of=/dev/null",
      "bs=1M",
      "count=1",
      `skip=${at}`,
      "iflag=direct",
    ]);
  await disk.hang();
  const reads = Array.from({ length: 40 }, (_, i) => read("slow/stuck", i));
  await waitFor("them to be told of", async () => (await isStalled(daemon, "slow/stuck")) === true);

  for (const at of [0, 30, 63]) expect(await read("well", at)).toMatchObject({ code: 0 });
  expect(await write(source, join(daemon.mountpoint, "well"), 0, 32)).toMatchObject({ code: 0 });
  expect(await daemon.cli("flush", join(daemon.mountpoint, "well"))).toMatchObject({ code: 0 });

  await disk.resume();
  for (const one of reads) expect(await one).toMatchObject({ code: 0 });
  expect(await daemon.umount()).toMatchObject({ code: 0 });
});

test.for(IOS)(
  "a discard that hangs is told of, and writes that wait behind it keep no frames of others (--io %s)",
  async (io, context) => {
    need(context, ...FAULTY_NEEDS, "fallocate");
    const backing = scratchDirectory("backing");
    const source = await noise(64);
    const image = await FaultyImage.make(join(backing, "stuck"), 64 * MiB);
    const daemon = await mountHypegear({ backing, args: ["--cache-size", "32M", "--io", io] });
    const [stuck, well] = [join(daemon.mountpoint, "stuck"), join(daemon.mountpoint, "well")];
    await image.hang();
    const discard = run("fallocate", ["--punch-hole", "--offset", "0", "--length", "4096", stuck]);
    await waitFor("it to be told of", async () => (await isStalled(daemon, "stuck")) === true);
    const writes = Array.from({ length: 48 }, (_, i) => write(source, stuck, i + 1, 1, "oflag=direct"));
    await sleep(500);

    expect(await write(source, well, 0, 64, "conv=fsync")).toMatchObject({ code: 0 });
    await expectSame(well, source);

    await image.resume();
    expect(await discard).toMatchObject({ code: 0 });
    for (const one of writes) expect(await one).toMatchObject({ code: 0 });
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    const same = ["cmp", "--ignore-initial", `${MiB}`, "--bytes", `${48 * MiB}`, image.path, source] as const;
    expect(await run(same[0], same.slice(1))).toMatchObject({ code: 0 });
  },
);

/* What hangs keeps the oldest commits, and the tail cannot pass them: until it is committed once more, at the log's end.
   It has more than half of what is taken when writers stop. */
test.for(IOS)("in `ordered` what hangs does not keep the journal full (--io %s)", async (io, context) => {
  need(context, ...FAULTY_NEEDS);
  const backing = scratchDirectory("backing");
  const source = await noise(32);
  const image = await FaultyImage.make(join(backing, "stuck"), 20 * MiB);
  await succeed("cp", [source, join(backing, "well")]);
  const ordered = ["--durability", "ordered", "--loss-window", "1", "--journal-size", "64M"];
  const daemon = await mountHypegear({ backing, args: ["--cache-size", "128M", "--io", io, ...ordered] });
  const [stuck, well] = [join(daemon.mountpoint, "stuck"), join(daemon.mountpoint, "well")];
  await image.hang();
  expect(await write(source, stuck, 0, 20)).toMatchObject({ code: 0 });
  await waitFor("it to be committed", async () => (await statsOf(daemon)).journal.commits_live > 0);
  const flushed = daemon.cli("flush", stuck);

  // Three times what the journal holds.
  for (let round = 0; round < 6; round++) expect(await write(source, well, 0, 32)).toMatchObject({ code: 0 });
  expect(await isStalled(daemon, "stuck")).toBe(true);

  await image.resume();
  expect(await flushed).toMatchObject({ code: 0 });
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(backing, "well"), source);
  await expectSame(image.path, source, 20 * MiB);
});

/* One has all home writes of the device; the journal is gone round twice. */
test.for(IOS)(
  "in `ordered` two images on a device that hangs do not keep the journal full (--io %s)",
  async (io, context) => {
    need(context, ...FAULTY_NEEDS, "losetup", "mkfs.ext4");
    const backing = scratchDirectory("backing");
    const source = await noise(32);
    const disk = await filesystemAt(join(backing, "slow"), 128);
    for (const name of ["slow/one", "slow/two", "well"]) await succeed("cp", [source, join(backing, name)]);
    await succeed("sync", ["-f", join(backing, "slow")]);
    const ordered = ["--durability", "ordered", "--loss-window", "1", "--journal-size", "192M"];
    const daemon = await mountHypegear({ backing, args: ["--cache-size", "256M", "--io", io, ...ordered] });
    const [one, two, well] = ["slow/one", "slow/two", "well"].map((name) => join(daemon.mountpoint, name));
    await disk.hang();
    expect(await write(source, one!, 0, 24)).toMatchObject({ code: 0 });
    expect(await write(source, two!, 0, 2)).toMatchObject({ code: 0 });
    const flushed = daemon.cli("flush", one!);

    for (let round = 0; round < 12; round++) expect(await write(source, well!, 0, 32)).toMatchObject({ code: 0 });
    for (const name of ["slow/one", "slow/two"])
      await waitFor(`${name} to be told of`, async () => (await isStalled(daemon, name)) === true);
    expect(await isStalled(daemon, "well")).not.toBe(true);

    await disk.resume();
    expect(await flushed).toMatchObject({ code: 0 });
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    await expectSame(join(backing, "well"), source);
    await expectSame(join(backing, "slow", "one"), source);
    await expectSame(join(backing, "slow", "two"), source);
  },
);
