/** Sizes, times and holes: right before writeback, and left alone by it. */
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { run, succeed } from "../support/run.ts";
import { MiB } from "./files.ts";

/** Runs `script` with bash in the mount. */
async function inMount(daemon: Daemon, script: string): Promise<string> {
  return succeed("bash", ["-euc", script], { cwd: daemon.mountpoint });
}

/** Size, mtime in nanoseconds, and mode of a file. */
function attributes(directory: string, name: string): string {
  const { size, mtimeNs, mode } = statSync(join(directory, name), { bigint: true });
  return `${name} ${size} ${mtimeNs} ${mode.toString(8)}`;
}

const PYTHON_DIRECT = `
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT | os.O_DIRECT)
page = mmap.mmap(-1, 4096); page.write(b"x" * 4096)
for at in (0, 5 << 30, 1 << 20): os.pwritev(fd, [page], at)
print(os.fstat(fd).st_size)
`;

test("the size of a file is right while its end is only in the cache, above 4 GiB too", async (context) => {
  need(context, "root", "/dev/fuse", "python3");
  const daemon = await mountHypegear();
  const file = join(daemon.mountpoint, "file");
  expect((await succeed("python3", ["-c", PYTHON_DIRECT, file])).trim()).toBe(String(5 * 2 ** 30 + 4096));
  await inMount(daemon, "printf 1234567 > odd; printf 89 >> odd; truncate -s 100 grown; printf tail >> grown");

  expect(daemon.stats().dirty.blocks).toBe(5);
  expect(statSync(join(daemon.backing, "file")).size).toBeLessThan(2 ** 32);
  expect(statSync(file).size).toBe(5 * 2 ** 30 + 4096);
  expect(readFileSync(join(daemon.mountpoint, "odd"), "utf8")).toBe("123456789");
  expect(statSync(join(daemon.mountpoint, "grown")).size).toBe(104);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(statSync(join(daemon.backing, "file")).size).toBe(5 * 2 ** 30 + 4096);
  expect(statSync(join(daemon.backing, "file")).blocks * 512).toBeLessThan(MiB);
  expect(readFileSync(join(daemon.backing, "odd"), "utf8")).toBe("123456789");
  expect(readFileSync(join(daemon.backing, "grown"), "latin1")).toBe(`${"\0".repeat(100)}tail`);
});

const TIMED = `
head -c 300000 /dev/urandom > touched; touch -d "2001-02-03 04:05:06.123456789" touched
head -c 300000 /dev/urandom > future; touch -d "2100-01-01 00:00:00.5" future
mkdir from to; head -c 500000 /dev/urandom > from/copied; touch -d "1999-12-31 23:59:59.25" from/copied
cp -p from/copied copied
head -c 5000 /dev/urandom > early; touch -d @100 early; printf more >> early
head -c 5000 /dev/urandom > renamed0; touch -d @200.75 renamed0; mv renamed0 renamed
`;
const TIMED_FILES = ["touched", "future", "from/copied", "copied", "renamed"];

test.for(["the engine alive", "the engine killed before writeback"])(
  "times that users set survive writeback, %s",
  async (how, context) => {
    need(context, "root", "/dev/fuse", "rsync", "tar");
    const daemon = await mountHypegear();
    const before = Date.now();
    await inMount(
      daemon,
      `${TIMED}rsync -a from/ to/; tar -cf archive from; tar -xf archive --transform s,from,untarred,`,
    );
    const names = [...TIMED_FILES, "to/copied", "untarred/copied"];
    const shown = names.map((name) => attributes(daemon.mountpoint, name));
    expect(daemon.stats().dirty.blocks).toBeGreaterThan(500);
    expect(shown[0]).toBe(
      `touched 300000 ${BigInt(Date.parse("2001-02-03T04:05:06Z")) * 1_000_000n + 123_456_789n} 100644`,
    );
    if (how.includes("killed")) await daemon.kill("engine");

    expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
    expect(names.map((name) => attributes(daemon.mountpoint, name))).toEqual(shown);
    expect(names.map((name) => attributes(daemon.backing, name))).toEqual(shown);
    expect(statSync(join(daemon.mountpoint, "early")).mtimeMs).toBeGreaterThan(before - 1000); // written after it was set
    const archived = attributes(daemon.mountpoint, "archive");
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(names.map((name) => attributes(daemon.backing, name))).toEqual(shown);
    expect(attributes(daemon.backing, "archive")).toBe(archived);
  },
);

test("the time of change is that of the last change, whatever time of modification was set", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  const times = (): { mtime: number; ctime: number } => {
    const { mtimeMs, ctimeMs } = statSync(join(daemon.mountpoint, "file"));
    return { mtime: Math.floor(mtimeMs / 1000), ctime: ctimeMs };
  };
  const begin = Date.now();
  await inMount(daemon, "printf data > file; touch -d @4000000000 file");
  expect(daemon.stats().dirty.blocks).toBe(1);
  expect(times().mtime).toBe(4_000_000_000);
  const set = times().ctime;
  expect(set).toBeGreaterThan(begin - 1000);
  expect(set).toBeLessThan(Date.now() + 1000);

  await sleep(100);
  await inMount(daemon, "printf more >> file");
  const written = times();
  expect(written.ctime).toBeGreaterThan(set);
  expect(written.ctime).toBeLessThan(Date.now() + 1000);
  expect(written.mtime).toBe(Math.floor(written.ctime / 1000));

  await inMount(daemon, "touch -d @4000000000 file");
  await daemon.kill("engine");
  expect(times().mtime).toBe(4_000_000_000);
  expect(times().ctime).toBeLessThan(Date.now() + 1000);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(Math.floor(statSync(join(daemon.backing, "file")).mtimeMs / 1000)).toBe(4_000_000_000);
});

test("the time of the last write is the time of the answer, not of the writeback", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  await inMount(daemon, "printf data > file; sleep 1.2; printf more >> other");
  const shown = ["file", "other"].map((name) => attributes(daemon.mountpoint, name));
  const [file, other] = ["file", "other"].map((name) => statSync(join(daemon.mountpoint, name)).mtimeMs);
  expect(other! - file!).toBeGreaterThan(1000);

  await succeed("sleep", ["1.2"]);
  expect(await daemon.umount()).toMatchObject({ code: 0 });

  expect(["file", "other"].map((name) => attributes(daemon.backing, name))).toEqual(shown);
});

test.for(["when it has been quiet", "after a kill of the engine", "after a kill of both, by the next mount"])(
  "the time of a flushed image comes home %s",
  async (how, context) => {
    need(context, "root", "/dev/fuse");
    const daemon = await mountHypegear();
    await inMount(daemon, "for i in 1 2 3; do dd if=/dev/urandom of=file bs=4k count=1 conv=notrunc,fsync; done 2>&1");
    expect(await daemon.cli("flush", "file")).toMatchObject({ code: 0 }); // no block is dirty, as after a flush without a journal
    const shown = attributes(daemon.mountpoint, "file");
    if (how.includes("engine")) await daemon.kill("engine");
    if (how.includes("both")) {
      await daemon.kill("both");
      await mountHypegear({ backing: daemon.backing, mountpoint: daemon.mountpoint });
    }
    for (let tries = 0; tries < 50 && attributes(daemon.backing, "file") !== shown; tries++) await sleep(100);
    expect(attributes(daemon.backing, "file")).toBe(shown);
    expect(attributes(daemon.mountpoint, "file")).toBe(shown);
  },
);

/** Prints the extents of data of a file, "from-to", as SEEK_DATA and SEEK_HOLE tell them. */
const PYTHON_EXTENTS = `
import os, sys
fd = os.open(sys.argv[1], os.O_RDONLY); at = 0; end = os.fstat(fd).st_size
while at < end:
    try: data = os.lseek(fd, at, os.SEEK_DATA)
    except OSError: break
    at = os.lseek(fd, data, os.SEEK_HOLE); print(f"{data}-{at}")
`;
const extents = async (file: string): Promise<string[]> =>
  (await succeed("python3", ["-c", PYTHON_EXTENTS, file])).trim().split("\n");

test("holes stay holes: seen before writeback, and still there after it", async (context) => {
  need(context, "root", "/dev/fuse", "python3", "fallocate");
  const daemon = await mountHypegear();
  await inMount(
    daemon,
    `truncate -s 64M sparse
     for at in 0 3 17 4000; do dd if=/dev/urandom of=sparse bs=4k count=2 seek=$at conv=notrunc status=none; done
     dd if=/dev/urandom of=dug bs=1M count=4 status=none; fallocate -p -o 1M -l 2M dug`,
  );
  const k = 4096;
  const wanted = [`0-${2 * k}`, `${3 * k}-${5 * k}`, `${17 * k}-${19 * k}`, `${4000 * k}-${4002 * k}`];
  expect(await extents(join(daemon.mountpoint, "sparse"))).toEqual(wanted);
  expect(await extents(join(daemon.mountpoint, "dug"))).toEqual([`0-${MiB}`, `${3 * MiB}-${4 * MiB}`]);

  expect(await daemon.umount()).toMatchObject({ code: 0 });

  expect(await extents(join(daemon.backing, "sparse"))).toEqual(wanted);
  expect(await extents(join(daemon.backing, "dug"))).toEqual([`0-${MiB}`, `${3 * MiB}-${4 * MiB}`]);
  expect(statSync(join(daemon.backing, "sparse")).blocks * 512).toBeLessThan(64 * 1024);
});

test("what changes a file's shape takes dirty data into account: nothing comes back", async (context) => {
  need(context, "root", "/dev/fuse", "fallocate");
  const daemon = await mountHypegear();
  await inMount(
    daemon,
    `yes data | head -c 100000 > cut; truncate -s 5000 cut; truncate -s 100000 cut
     yes data | head -c 100000 > punched; fallocate -p -o 4000 -l 50000 punched
     yes data | head -c 100000 > zeroed; fallocate -z -o 90000 -l 20000 zeroed
     yes data | head -c 100000 > kept; if fallocate -i -o 4096 -l 4096 kept; then exit 1; fi
     if fallocate -c -o 4096 -l 4096 kept; then exit 1; fi 2>/dev/null`,
  );
  const data = Buffer.from("data\n".repeat(20_000));
  const holed = (from: number, to: number, size: number): Buffer =>
    Buffer.concat([data, Buffer.alloc(size - data.length)]).fill(0, from, to);
  const wanted: [string, Buffer][] = [
    ["cut", holed(5000, 100_000, 100_000)],
    ["punched", holed(4000, 54_000, 100_000)],
    ["zeroed", holed(90_000, 110_000, 110_000)],
    ["kept", data],
  ];
  for (const [name, content] of wanted)
    expect(readFileSync(join(daemon.mountpoint, name)).equals(content), name).toBe(true);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  for (const [name, content] of wanted)
    expect(readFileSync(join(daemon.backing, name)).equals(content), name).toBe(true);
  expect(await run("find", [daemon.backing, "-newermt", "2099-01-01"])).toMatchObject({ stdout: "" });
});
