/**
 * Faults 13, 14 and 15: what the next mount says when keeper and engine were killed and somebody changed an image with unsaved
 * data before it; and that it never says so of what the cache itself did.
 */
import { spawn } from "node:child_process";
import {
  appendFileSync,
  chmodSync,
  closeSync,
  copyFileSync,
  linkSync,
  openSync,
  readFileSync,
  readSync,
  renameSync,
  rmSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { HOME_QUIET_US } from "../../src/base/limits.ts";
import { type Daemon, mountHypegear, refusedMount } from "../support/daemon.ts";
import { MARK } from "../support/marks.ts";
import { need } from "../support/need.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { STAMPED_BYTES, startStamper } from "./clients.ts";
import { scaled } from "./scale.ts";
import { check } from "./stamps.ts";

const BYTES = 1 << 20;
const NEW = Buffer.alloc(65_536, 0x6e);
const NEW_AT = 300_000;

function overwrite(image: string, bytes: Buffer, at: number): void {
  const fd = openSync(image, "r+");
  writeSync(fd, bytes, 0, bytes.length, at);
  closeSync(fd);
}

/** `image` with unsaved data over `old` bytes, and its daemon dead. */
async function deadWithUnsaved(): Promise<{ daemon: Daemon; image: string; guests: Buffer }> {
  const backing = scratchDirectory("backing");
  const image = join(backing, "a.img");
  writeFileSync(image, Buffer.alloc(BYTES, 0x6f));
  const daemon = await mountHypegear({ backing });
  overwrite(join(daemon.mountpoint, "a.img"), NEW, NEW_AT);
  const guests = readFileSync(join(daemon.mountpoint, "a.img"));
  await daemon.kill("both");
  return { daemon, image, guests };
}

const withUnsaved = (content: Buffer): Buffer => {
  const mixed = Buffer.from(content);
  NEW.copy(mixed, NEW_AT);
  return mixed;
};

interface Change {
  what: string;
  change: (image: string) => void;
  told: RegExp;
}

const REFUSED: readonly Change[] = [
  {
    what: "appended to",
    change: (image) => appendFileSync(image, "x".repeat(4096)),
    told: /a\.img \(1052672 bytes long, was 1048576\)/,
  },
  { what: "cut short", change: (image) => truncateSync(image, 4096), told: /a\.img \(4096 bytes long, was 1048576\)/ },
  {
    what: "overwritten, its size the same",
    change: (image) => overwrite(image, Buffer.alloc(BYTES, 0x66), 0),
    told: /a\.img \(modified \S+, was \S+\)/,
  },
  {
    what: "replaced by another file of its name",
    change: (image) => {
      writeFileSync(`${image}.new`, Buffer.alloc(BYTES, 0x66));
      renameSync(`${image}.new`, image);
    },
    told: /a\.img \(replaced by another file\)/,
  },
  { what: "touched", change: (image) => utimesSync(image, 1e9, 1e9), told: /a\.img \(modified 2001-\S+, was \S+\)/ },
];

test.for(REFUSED)("fault 15: an image $what beneath unsaved data is refused, and left alone", async (row, context) => {
  need(context, "root", "/dev/fuse");
  const { daemon, image } = await deadWithUnsaved();
  row.change(image);
  const changed = readFileSync(image);
  for (let attempt = 1; attempt <= 2; attempt++) {
    const refused = await refusedMount(daemon);
    expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(row.told) as string });
    expect(refused.stderr).toMatch(/--force/);
    expect(readFileSync(image).equals(changed)).toBe(true);
  }

  const { backing, mountpoint } = daemon;
  const forced = await mountHypegear({ backing, mountpoint, args: ["--force"] });
  expect(forced.log).toMatch(/unsaved data goes over .*\(--force\)/);
  expect(await forced.umount()).toMatchObject({ code: 0 });
  const grown = Buffer.concat([changed, Buffer.alloc(Math.max(0, BYTES - changed.length))]);
  expect(readFileSync(image).equals(withUnsaved(grown))).toBe(true);
});

test("fault 15: an image removed beneath unsaved data is refused; forced, that data is dropped and said", async (context) => {
  need(context, "root", "/dev/fuse");
  const { daemon, image, guests } = await deadWithUnsaved();
  copyFileSync(image, `${image}.copy`);
  rmSync(image);
  expect(await refusedMount(daemon)).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/a\.img \(gone\)/) as string,
  });

  const { backing, mountpoint } = daemon;
  const forced = await mountHypegear({ backing, mountpoint, args: ["--force"] });
  expect(forced.log).toMatch(/a\.img is gone: .* dropped/);
  expect(forced.stats().dirty.blocks).toBe(0);
  copyFileSync(join(mountpoint, "a.img.copy"), join(mountpoint, "a.img"));
  expect(await forced.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(image).equals(readFileSync(`${image}.copy`))).toBe(true);
  expect(guests.length).toBe(BYTES);
});

test("fault 15: an image that is put back as it was is carried on with", async (context) => {
  need(context, "root", "/dev/fuse");
  const { daemon, image, guests } = await deadWithUnsaved();
  renameSync(image, `${image}.away`);
  writeFileSync(image, "something else");
  expect((await refusedMount(daemon)).code).toBe(3);
  renameSync(`${image}.away`, image);

  const again = await mountHypegear({ backing: daemon.backing, mountpoint: daemon.mountpoint });
  expect(await again.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(image).equals(guests)).toBe(true);
});

test("what changes no data is no change: mode, another name, reading", async (context) => {
  need(context, "root", "/dev/fuse");
  const { daemon, image, guests } = await deadWithUnsaved();
  chmodSync(image, 0o640);
  linkSync(image, `${image}.link`);
  readFileSync(image);

  const again = await mountHypegear({ backing: daemon.backing, mountpoint: daemon.mountpoint });
  expect(await again.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(image).equals(guests)).toBe(true);
});

test("an image changed beneath while it is clean, and written after that, is as its writer left it", async (context) => {
  need(context, "root", "/dev/fuse");
  const backing = scratchDirectory("backing");
  const image = join(backing, "a.img");
  writeFileSync(image, Buffer.alloc(BYTES, 0x6f));
  const daemon = await mountHypegear({ backing });
  overwrite(join(daemon.mountpoint, "a.img"), NEW, 0);
  expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
  overwrite(image, Buffer.alloc(BYTES, 0x66), 0);
  overwrite(join(daemon.mountpoint, "a.img"), NEW, NEW_AT);
  await daemon.kill("both");

  const again = await mountHypegear({ backing, mountpoint: daemon.mountpoint });
  expect(await again.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(image).equals(withUnsaved(Buffer.alloc(BYTES, 0x66)))).toBe(true);
});

test("fault 15: an image changed beneath unsaved data of a live guest is said in the log, and only then", async (context) => {
  need(context, "root", "/dev/fuse");
  const backing = scratchDirectory("backing");
  const image = join(backing, "a.img");
  writeFileSync(image, Buffer.alloc(BYTES, 0x6f));
  const daemon = await mountHypegear({ backing });
  for (let round = 0; round < 3; round++) {
    overwrite(join(daemon.mountpoint, "a.img"), NEW, round * NEW.length);
    expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
  }
  expect(daemon.log).not.toMatch(/past the mount/);
  overwrite(join(daemon.mountpoint, "a.img"), NEW, NEW_AT);
  overwrite(image, Buffer.alloc(BYTES, 0x66), 0);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(daemon.log).toMatch(/a\.img was changed in the backing directory, past the mount \(modified/);
  expect(readFileSync(image).equals(withUnsaved(Buffer.alloc(BYTES, 0x66)))).toBe(true);
});

test("fault 15: an image that was written home and then quiet is looked at again", async (context) => {
  need(context, "root", "/dev/fuse");
  const backing = scratchDirectory("backing");
  const image = join(backing, "a.img");
  writeFileSync(image, Buffer.alloc(BYTES, 0x6f));
  const daemon = await mountHypegear({ backing });
  const mounted = join(daemon.mountpoint, "a.img");
  for (let round = 0; round < 3; round++) {
    overwrite(mounted, NEW, round * NEW.length);
    expect(await daemon.cli("flush", "a.img")).toMatchObject({ code: 0 });
    overwrite(mounted, NEW, NEW_AT); // while the note is loose
  }
  await sleep(2 * (HOME_QUIET_US / 1000));
  overwrite(image, Buffer.alloc(BYTES, 0x66), 0);
  await daemon.kill("both");
  expect(await refusedMount(daemon)).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/a\.img \(modified/) as string,
  });
});

test("fault 14: a slab that the state says should be there, and is not, is refused under a real daemon", async (context) => {
  need(context, "root", "/dev/fuse");
  const { daemon, image } = await deadWithUnsaved();
  rmSync(join(daemon.slab!, "slab"));
  const refused = await refusedMount(daemon);
  expect(refused).toMatchObject({ code: 3, stderr: expect.stringMatching(/slab .* is missing/) as string });
  expect(readFileSync(image).equals(Buffer.alloc(BYTES, 0x6f))).toBe(true);
});

test("fault 13: a slab that is another's, or no slab at all, is refused and kept", async (context) => {
  need(context, "root", "/dev/fuse");
  const { daemon, image } = await deadWithUnsaved();
  const slab = join(daemon.slab!, "slab");
  overwrite(slab, Buffer.from("SOMEBODY"), 0);
  expect((await refusedMount({ backing: daemon.backing, mountpoint: daemon.mountpoint, args: ["--force"] })).code).toBe(
    3,
  );
  overwrite(slab, Buffer.from("HYPEGEAR"), 0);

  const again = await mountHypegear({ backing: daemon.backing, mountpoint: daemon.mountpoint });
  expect(await again.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(image).equals(withUnsaved(Buffer.alloc(BYTES, 0x6f)))).toBe(true);
});

/** Everything that changes size and times of the file `$1`, over and over, each with data on its way home. */
const RESHAPING = `
while :; do
  dd if=/dev/urandom of="$1" bs=64k count=20 conv=notrunc 2>/dev/null
  touch -d '2001-02-03 04:05:06' "$1"
  dd if=/dev/urandom of="$1" bs=4k seek=300 count=3 conv=notrunc,fsync 2>/dev/null
  chmod 640 "$1"; truncate -s 700001 "$1"; fallocate -p -o 8192 -l 65536 "$1"
  dd if=/dev/urandom of="$1" bs=1000 seek=900 count=50 conv=notrunc 2>/dev/null
  fallocate -l 2000000 "$1"; ln -f "$1" "$1.link"; touch "$1"; truncate -s 50 "$1"
  dd if=/dev/urandom of="$1" bs=4k seek=10 count=9 oflag=append conv=notrunc 2>/dev/null
done`;

function startReshaping(image: string): () => Promise<void> {
  const child = spawn("sh", ["-c", RESHAPING, "sh", image], { stdio: "ignore", env: { ...process.env, ...MARK } });
  const end = new Promise((resolve) => child.once("exit", resolve));
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await end;
  };
  testScope(kill);
  return kill;
}

test("killed again and again at any moment, the cache never takes its own work for somebody else's", async (context) => {
  need(context, "root", "/dev/fuse");
  const backing = scratchDirectory("backing");
  const logs = scratchDirectory("log");
  const mountpoint = scratchDirectory("mount");
  writeFileSync(join(backing, "shapes"), "");
  for (let round = 1; round <= scaled(10); round++) {
    const log = join(logs, `${round}`);
    const daemon = await mountHypegear({ backing, mountpoint, args: ["--cache-size", "16M"] });
    // A fresh image: home is all zeros until the stamper has written it. The old one may still be dirty, and goes.
    rmSync(join(mountpoint, "stamps"), { force: true });
    writeFileSync(join(mountpoint, "stamps"), "");
    truncateSync(join(mountpoint, "stamps"), STAMPED_BYTES);
    const kills = [
      await startStamper(join(mountpoint, "stamps"), log, round),
      ...["shapes", "shapes2"].map((name) => startReshaping(join(mountpoint, name))),
    ];
    await sleep(200 + ((round * 271) % 700));
    await daemon.kill("both");
    await Promise.all(kills.map((kill) => kill()));
    const again = await mountHypegear({ backing, mountpoint, args: ["--cache-size", "16M"] });
    const { wrong } = check(readFileSync(join(mountpoint, "stamps")), readFileSync(log, "utf8"));
    expect(wrong.slice(0, 5)).toEqual([]);
    await again.kill("both");
    expect(daemon.log + again.log).not.toMatch(/past the mount/);
  }
  const last = await mountHypegear({ backing, mountpoint, args: ["--cache-size", "16M"] });
  expect(await last.umount()).toMatchObject({ code: 0 });
});

test("an image whose file is gone when the engine is killed takes no other guest with it, and is well again when it is back", async (context) => {
  need(context, "root", "/dev/fuse");
  const backing = scratchDirectory("backing");
  for (const name of ["a.img", "b.img"]) writeFileSync(join(backing, name), Buffer.alloc(BYTES, 0x6f));
  const daemon = await mountHypegear({ backing });
  const [gone, well] = ["a.img", "b.img"].map((name) => join(daemon.mountpoint, name)) as [string, string];
  for (const image of [gone, well]) overwrite(image, NEW, NEW_AT);
  const open = openSync(gone, "r+");
  renameSync(join(backing, "a.img"), join(backing, "away"));
  await daemon.kill("engine");

  overwrite(well, NEW, 0);
  expect(await daemon.cli("flush", "b.img")).toMatchObject({ code: 0 });
  const whole = Math.ceil(NEW_AT / 4096) * 4096;
  const read = Buffer.alloc(8 * 4096);
  expect(readSync(open, read, 0, read.length, whole)).toBe(read.length);
  expect(read.equals(NEW.subarray(0, read.length))).toBe(true);
  // ESTALE, for which Node has no name
  expect(() => readSync(open, read, 0, read.length, 0)).toThrow(/116|UNKNOWN/);
  expect(() => writeSync(open, NEW, 0, NEW.length, 0)).toThrow(/116|UNKNOWN/);
  closeSync(open);
  expect(daemon.log).toMatch(/a\.img \(gone\): its unsaved data is kept/);
  expect(await daemon.umount()).toMatchObject({ code: 1, stderr: expect.stringMatching(/ESTALE/) as string });

  renameSync(join(backing, "away"), join(backing, "a.img"));
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(join(backing, "a.img")).equals(withUnsaved(Buffer.alloc(BYTES, 0x6f)))).toBe(true);
});
