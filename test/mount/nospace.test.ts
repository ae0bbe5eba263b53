/** A backing filesystem that is full, over quota or read-only: told at the write, and nothing accepted is lost. */
import { existsSync, mkdirSync, readdirSync, rmSync, statfsSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { expect, test } from "vitest";
import { mountHypegear } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { run, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { expectSame, fsync, MiB, mibWritten, noise, write } from "./files.ts";

const NEEDS = ["root", "/dev/fuse", "losetup", "mkfs.ext4", "python3"];

test("a sparse image on a full disk gets ENOSPC at its write, and all that was accepted goes home", async (context) => {
  need(context, ...NEEDS);
  const { directory } = await loopFilesystem("ext4", 64);
  const source = await noise(128);
  writeFileSync(join(directory, "sparse"), "");
  truncateSync(join(directory, "sparse"), 128 * MiB);
  const daemon = await mountHypegear({ backing: directory, args: ["--cache-size", "256M"] });
  const sparse = join(daemon.mountpoint, "sparse");

  const outcome = await write(source, sparse, 0, 128);

  expect(outcome).toMatchObject({ code: 1, stderr: expect.stringMatching(/No space left/) as string });
  const accepted = mibWritten(outcome);
  expect(accepted).toBeGreaterThan(20);
  await expectSame(sparse, source, accepted * MiB);
  expect(await fsync(sparse)).toMatchObject({ code: 0 });
  expect(await write(source, sparse, 0, accepted, "conv=fsync")).toMatchObject({ code: 0 }); // what has room, has it
  expect(daemon.stats().writeback.errors).toBe(0);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(directory, "sparse"), source, accepted * MiB);
});

test("a full filesystem that is mounted inside the backing directory says so at the write, too", async (context) => {
  need(context, ...NEEDS);
  const backing = scratchDirectory("backing");
  const small = join(backing, "small");
  mkdirSync(small);
  await succeed("mount", ["-t", "tmpfs", "-o", "size=8M", "none", small]);
  testScope(() => unmountLazily(small));
  const source = await noise(24);
  const daemon = await mountHypegear({ backing });
  const [image, other] = [join(daemon.mountpoint, "small", "image"), join(daemon.mountpoint, "other")];
  expect(await write(source, other, 0, 8)).toMatchObject({ code: 0 });

  const outcome = await write(source, image, 0, 24);

  expect(outcome).toMatchObject({ code: 1, stderr: expect.stringMatching(/No space left/) as string });
  const accepted = mibWritten(outcome);
  expect(accepted).toBeGreaterThan(4);
  expect(await fsync(image)).toMatchObject({ code: 0 });
  expect(await write(source, other, 8, 16, "conv=fsync")).toMatchObject({ code: 0 });
  expect(daemon.stats().writeback.errors).toBe(0);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(small, "image"), source, accepted * MiB);
  await expectSame(join(backing, "other"), source);
});

test.for(["", " after a kill of the engine", " beside holes that were punched"])(
  "room that was only put aside is not given to later writes, when there is little left%s",
  async (what, context) => {
    need(context, ...NEEDS, "fallocate");
    const { directory } = await loopFilesystem("ext4", 384);
    const source = await noise(420);
    const daemon = await mountHypegear({ backing: directory, args: ["--cache-size", "1G"] });
    const image = join(daemon.mountpoint, "image");
    expect(await write(source, image, 0, 20)).toMatchObject({ code: 0 });
    expect(statSync(join(directory, "image")).blocks).toBe(0);
    if (what.includes("kill")) await daemon.kill("engine");
    if (what.includes("holes")) await succeed("fallocate", ["-p", "-o", "0", "-l", "4096", image]);

    const outcome = await write(source, image, 20, 400);

    expect(outcome).toMatchObject({ code: 1, stderr: expect.stringMatching(/No space left/) as string });
    const accepted = 20 + mibWritten(outcome);
    expect(accepted).toBeGreaterThan(200);
    expect(await fsync(image)).toMatchObject({ code: 0 });
    expect(daemon.stats().writeback.errors).toBe(0);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    if (what.includes("holes")) await succeed("fallocate", ["-p", "-o", "0", "-l", "4096", source]);
    await expectSame(join(directory, "image"), source, accepted * MiB);
  },
);

test("an fallocate does not take the room that was put aside", async (context) => {
  need(context, ...NEEDS, "fallocate");
  const { directory } = await loopFilesystem("ext4", 384);
  const source = await noise(20);
  const daemon = await mountHypegear({ backing: directory });
  const [image, other] = [join(daemon.mountpoint, "image"), join(daemon.mountpoint, "other")];
  expect(await write(source, image, 0, 20)).toMatchObject({ code: 0 });
  expect(statSync(join(directory, "image")).blocks).toBe(0);
  const { bfree, bsize } = statfsSync(directory);

  expect((await run("fallocate", ["-l", String(bfree * bsize - 2 * MiB), other])).stderr).toMatch(/No space left/);

  expect(await fsync(image)).toMatchObject({ code: 0 });
  expect(daemon.stats().writeback.errors).toBe(0);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(directory, "image"), source);
});

test("when space is freed, the write that was refused is taken", async (context) => {
  need(context, ...NEEDS);
  const { directory } = await loopFilesystem("ext4", 64);
  const source = await noise(64);
  await succeed("fallocate", ["-l", "32M", join(directory, "ballast")]);
  const daemon = await mountHypegear({ backing: directory, args: ["--cache-size", "128M"] });
  const image = join(daemon.mountpoint, "image");
  const refused = await write(source, image, 0, 48);
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringMatching(/No space left/) as string });
  const accepted = mibWritten(refused);

  await succeed("rm", [join(daemon.mountpoint, "ballast")]);
  await waitFor("the room of the file, which its mount has to forget first", () => {
    const { bfree, bsize } = statfsSync(directory);
    return bfree * bsize >= 24 * MiB;
  });
  expect(await write(source, image, accepted, 36 - accepted)).toMatchObject({ code: 0 });

  expect(await fsync(image)).toMatchObject({ code: 0 });
  await expectSame(join(directory, "image"), source, 36 * MiB);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(directory, "image"), source, 36 * MiB);
});

test("space that somebody else takes after the answer does not cost an accepted byte", async (context) => {
  need(context, ...NEEDS);
  const { directory } = await loopFilesystem("ext4", 96);
  const source = await noise(24);
  const daemon = await mountHypegear({ backing: directory, args: ["--cache-size", "128M"] });
  const image = join(daemon.mountpoint, "image");
  expect(await write(source, image, 0, 24)).toMatchObject({ code: 0 });
  expect(daemon.stats().dirty.blocks).toBeGreaterThan(0);

  const ballast = join(directory, "ballast");
  expect((await run("dd", ["if=/dev/zero", `of=${ballast}`, "bs=64k"])).stderr).toMatch(/No space left/);

  expect(await fsync(image)).toMatchObject({ code: 0 });
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  await expectSame(join(directory, "image"), source, 24 * MiB);
});

test("a backing filesystem that turns read-only fails the flush and keeps the data, which goes home after the repair", async (context) => {
  need(context, ...NEEDS, "e2fsck");
  const { directory, device } = await loopFilesystem("ext4", 64);
  await succeed("mount", ["-o", "remount,errors=remount-ro", directory]);
  const source = await noise(8);
  const daemon = await mountHypegear({ backing: directory, args: ["--cache-size", "64M"] });
  const image = join(daemon.mountpoint, "image");
  expect(await write(source, image, 0, 2, "conv=fsync")).toMatchObject({ code: 0 });
  expect(await write(source, image, 2, 6)).toMatchObject({ code: 0 });

  writeFileSync(`/sys/fs/ext4/${basename(device)}/trigger_fs_error`, "1");
  const failed = await fsync(image);

  expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/Read-only|Input\/output/) as string });
  expect(daemon.stats().images.failing).toBe(1);
  expect(daemon.stats().dirty.blocks).toBe((6 * MiB) / 4096);
  await expectSame(image, source);
  expect((await daemon.cli("umount")).code).toBe(1);

  await daemon.kill("both");
  await waitFor("the files of the dead to be closed", async () => (await run("umount", [directory])).code === 0);
  await run("e2fsck", ["-fp", device]); // says with its exit code that it repaired something
  await succeed("mount", [device, directory]);
  const { mountpoint } = daemon;
  const again = await mountHypegear({ backing: directory, mountpoint, args: ["--cache-size", "64M"] });
  expect(await again.umount()).toMatchObject({ code: 0 });
  await expectSame(join(directory, "image"), source);
});

/**
 * Keeps files open, waits for a full disk, takes their names away, half of them by unlink and half by a rename of another file over
 * them, and reads them. Each name in `held` may take a new block of that directory.
 */
const UNNAMING = `
import os, sys, time
count = 300
files = [os.open(f"open{i}", os.O_RDWR | os.O_CREAT) for i in range(count)]
for i, fd in enumerate(files):
    os.write(fd, bytes([i % 256]))
    os.fsync(fd)
    os.close(os.open(f"other{i}", os.O_RDWR | os.O_CREAT))
open("ready", "w").close()
while not os.path.exists("full"): time.sleep(0.05)
for i in range(count):
    if i % 2: os.unlink(f"open{i}")
    else: os.rename(f"other{i}", f"open{i}")
for i, fd in enumerate(files):
    assert os.pread(fd, 2, 0) == bytes([i % 256]), i
    assert os.fstat(fd).st_nlink == 0, i
`;

test("on a full disk, open files lose their names all the same, and are read until their close", async (context) => {
  need(context, ...NEEDS);
  const { directory } = await loopFilesystem("ext4", 48);
  const daemon = await mountHypegear({ backing: directory, args: ["--cache-size", "16M"] });
  const client = run("python3", ["-c", UNNAMING], { cwd: daemon.mountpoint });
  client.catch(() => {});
  await waitFor("the files", () => existsSync(join(daemon.mountpoint, "ready")));
  writeFileSync(join(directory, "full.new"), "");
  const fill = `dd if=/dev/zero of=ballast bs=64k; dd if=/dev/zero of=rest bs=1k; mv full.new full`;
  expect((await run("sh", ["-c", fill], { cwd: directory })).stderr).toMatch(/No space left[^]*No space left/);

  expect(await client).toMatchObject({ code: 0, stderr: "" });

  rmSync(join(daemon.mountpoint, "ballast"));
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  const left = readdirSync(directory);
  expect(left.filter((name) => name.startsWith("open")).length).toBe(150);
  expect(left).not.toContain(".hypegear");
});
