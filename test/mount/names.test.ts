/** Names and flushes on the real mount: unlink, rename and links of dirty images, every kind of sync, and the books. */
import { existsSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { unaccountedBlocks } from "../../src/stats/document.ts";
import { losePower, recovered } from "../power/recovery.ts";
import { Random } from "../sim/random.ts";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { run, succeed } from "../support/run.ts";
import { waitFor } from "../support/wait.ts";
import { MiB } from "./files.ts";
import { digests } from "./fio.ts";

const shell = (daemon: Daemon, script: string): Promise<string> =>
  succeed("bash", ["-euc", script], { cwd: daemon.mountpoint });
const python = (daemon: Daemon, script: string): Promise<string> =>
  succeed("python3", ["-c", `import os, mmap\n${script}`], { cwd: daemon.mountpoint });

test("the blocks of a dirty image that is unlinked are absorbed, not written", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  await shell(daemon, "head -c 8M /dev/urandom > doomed");
  const before = daemon.stats();
  expect(before.dirty.blocks).toBe((8 * MiB) / 4096);

  await shell(daemon, "rm doomed");

  // The kernel keeps the inode until the answer to the RELEASE before, which nobody waits for.
  await waitFor("the blocks are dropped", () => daemon.stats().dirty.blocks === 0);
  const after = daemon.stats();
  expect(after.writes.absorbed_discard_blocks - before.writes.absorbed_discard_blocks).toBe((8 * MiB) / 4096);
  expect(after.writeback.bytes).toBe(before.writeback.bytes);
  expect(after.dirty.blocks).toBe(0);
  expect(unaccountedBlocks(after)).toBe(0);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(existsSync(join(daemon.backing, "doomed"))).toBe(false);
});

test("punching, cutting and overwriting absorb too, and the books balance at every quiet moment", async (context) => {
  need(context, "root", "/dev/fuse", "fallocate");
  const daemon = await mountHypegear();
  const steps = [
    "head -c 4M /dev/urandom > image",
    "head -c 4M /dev/urandom | dd of=image conv=notrunc bs=64k status=none",
    "fallocate -p -o 1M -l 1M image",
    "truncate -s 3M image",
    "head -c 100 /dev/urandom | dd of=image conv=notrunc bs=1 seek=1000 status=none",
    "sync image",
    "head -c 1M /dev/urandom > other; mv other image",
    "head -c 1M /dev/urandom > third; ln third fourth; rm third",
  ];
  for (const step of steps) {
    await shell(daemon, step);
    expect(unaccountedBlocks(daemon.stats()), step).toBe(0);
  }
  await daemon.kill("engine");
  await shell(daemon, "head -c 1000 /dev/urandom >> image");
  const { writes } = daemon.stats();
  expect(writes.absorbed_rewrite_blocks).toBeGreaterThanOrEqual(1024);
  expect(writes.absorbed_discard_blocks).toBeGreaterThanOrEqual(256);
  expect(unaccountedBlocks(daemon.stats())).toBe(0);
  expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
  expect(daemon.stats().dirty.blocks).toBe(0);
  expect(unaccountedBlocks(daemon.stats())).toBe(0);
});

test("an unlinked image that is open keeps its dirty data until its close, over the engine's death too", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  const script = `exec 3<>held; head -c 3M /dev/urandom | tee copy >&3; rm held; touch ready
    until test -e go; do sleep 0.05; done; cmp /dev/fd/3 copy && stat -Lc %h /dev/fd/3`;
  const client = shell(daemon, script);
  client.catch(() => {});
  while (!existsSync(join(daemon.mountpoint, "ready"))) await succeed("sleep", ["0.05"]);
  await daemon.kill("engine");
  await shell(daemon, "touch go");
  expect((await client).trim()).toBe("0");
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(existsSync(join(daemon.backing, "held"))).toBe(false);
  expect(existsSync(join(daemon.backing, ".hypegear"))).toBe(false);
});

test("renamed, replaced and linked images take their dirty data with them", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  await shell(
    daemon,
    `mkdir dir; head -c 1M /dev/urandom > a; head -c 1M /dev/urandom > b; head -c 1M /dev/urandom > c
     cp a a.copy; mv a dir/moved; mv b c; ln c dir/link; printf appended >> dir/link; cmp c dir/link
     cp c c.copy; mv dir renamed; printf more >> renamed/moved; printf more >> a.copy`,
  );
  const names = ["renamed/moved", "a.copy", "c", "renamed/link", "c.copy"];
  const shown = await digests(daemon.mountpoint, names);
  expect(statSync(join(daemon.mountpoint, "c")).nlink).toBe(2);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(await digests(daemon.backing, names)).toEqual(shown);
  const hashes = shown.map((line) => line.split(" ")[1]);
  expect([hashes[0], hashes[2], hashes[3]]).toEqual([hashes[1], hashes[3], hashes[4]]);
  expect(existsSync(join(daemon.backing, "b"))).toBe(false);
});

test("writers that append to one file at once lose no line", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  await shell(daemon, `for w in 1 2 3 4; do (for i in $(seq 200); do echo "$w $i" >> log; done) & done; wait`);
  const check = (directory: string): void => {
    const lines = readFileSync(join(directory, "log"), "utf8").trimEnd().split("\n");
    expect(lines.length).toBe(800);
    expect(new Set(lines).size).toBe(800);
  };
  check(daemon.mountpoint);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  check(daemon.backing);
});

/** Not syncfs and sync: the kernel does not pass them on to a FUSE server like this. */
const SYNCS: { by: string; script: string }[] = [
  { by: "O_SYNC", script: `os.write(os.open("f", os.O_RDWR|os.O_CREAT|os.O_SYNC), b"data" * 5000)` },
  { by: "O_DSYNC", script: `os.write(os.open("f", os.O_RDWR|os.O_CREAT|os.O_DSYNC), b"data" * 5000)` },
  {
    by: "RWF_DSYNC",
    script: `os.pwritev(os.open("f", os.O_RDWR|os.O_CREAT), [b"data" * 5000], 0, os.RWF_DSYNC)`,
  },
  {
    by: "O_DIRECT with O_DSYNC",
    script: `fd = os.open("f", os.O_RDWR|os.O_CREAT|os.O_DIRECT|os.O_DSYNC); m = mmap.mmap(-1, 20480); m.write(b"data" * 5000)
os.pwritev(fd, [memoryview(m)[:19968]], 0); os.pwrite(os.open("f", os.O_RDWR|os.O_DSYNC), b"data" * 8, 19968)`,
  },
  { by: "fsync", script: `fd = os.open("f", os.O_RDWR|os.O_CREAT); os.write(fd, b"data" * 5000); os.fsync(fd)` },
  {
    by: "fdatasync",
    script: `fd = os.open("f", os.O_RDWR|os.O_CREAT); os.write(fd, b"data" * 5000); os.fdatasync(fd)`,
  },
  {
    by: "fsync of another descriptor",
    script: `fd = os.open("f", os.O_RDWR|os.O_CREAT); os.write(fd, b"data" * 5000); os.fsync(os.open("f", os.O_RDONLY))`,
  },
  {
    by: "msync",
    script: `fd = os.open("f", os.O_RDWR|os.O_CREAT); os.truncate(fd, 20000); m = mmap.mmap(fd, 20000); m[:] = b"data" * 5000; m.flush()`,
  },
  {
    by: "sync of the mount's root directory, and of the file",
    script: `fd = os.open("f", os.O_RDWR|os.O_CREAT); os.write(fd, b"data" * 5000); os.fsync(fd); os.fsync(os.open(".", os.O_RDONLY))`,
  },
];

test.for(SYNCS)("$by makes the data safe from a power cut before it returns", async ({ script }, context) => {
  need(context, "root", "/dev/fuse", "python3");
  const daemon = await mountHypegear();
  await shell(daemon, "head -c 1M /dev/urandom > other");

  await python(daemon, script);

  expect(daemon.stats().journal.uncommitted_blocks).toBe(MiB / 4096); // the other's
  await losePower(daemon);
  expect(await recovered(daemon.backing, "once", new Random(1))).toEqual([]);
  expect(readFileSync(join(daemon.backing, "f"), "latin1")).toBe("data".repeat(5000));
});

test("a flush of one image, by fsync or by the command, writes no byte of another", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  await shell(daemon, "mkdir dir; for f in a b dir/c; do head -c 1M /dev/urandom > $f; done");

  await shell(daemon, "sync a");
  expect(daemon.stats().writeback.bytes).toBe(MiB);
  expect(await daemon.cli("flush", "dir/c")).toMatchObject({ code: 0 });
  expect(daemon.stats().writeback.bytes).toBe(2 * MiB);
  expect(daemon.stats().dirty.bytes).toBe(MiB);
  expect(readFileSync(join(daemon.backing, "dir/c")).equals(readFileSync(join(daemon.mountpoint, "dir/c")))).toBe(true);
  expect(statSync(join(daemon.backing, "b")).blocks).toBe(0);
  expect((await run("bash", ["-c", "sync -d b"], { cwd: daemon.mountpoint })).code).toBe(0);
  expect(daemon.stats().dirty.blocks).toBe(0);
});

test("a flush by another of the image's names takes it home; one of what is no image says so", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  await shell(daemon, "mkdir dir; ln -s dir way; ln -s dir/a soft; ln -s /etc/passwd out; : >dir/a; ln dir/a hard");
  let written = 0;
  for (const name of ["hard", "soft", "way/a"]) {
    await shell(daemon, "dd if=/dev/urandom of=dir/a bs=64k count=1 conv=notrunc status=none");
    expect(await daemon.cli("flush", name)).toMatchObject({ code: 0 });
    expect(daemon.stats().writeback.bytes, name).toBe((written += 65_536));
    expect(daemon.stats().dirty.blocks).toBe(0);
  }
  expect(await daemon.cli("flush", "out")).toMatchObject({
    code: 2,
    stderr: `hypegear: ${daemon.mountpoint}: flush out: leads out of the mount; give the image's path in it\n`,
  });
  expect(await daemon.cli("flush", "way")).toMatchObject({ code: 2 });
});
