/** What guests and the cache itself do to home files is not taken for somebody else's after a power cut. */
import { utimesSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { hypegear, mountHypegear } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { cutPower } from "./cut.ts";
import { MiB } from "./files.ts";

/** After the last commit, longer than recovery takes any modification for ours. */
const QUIET_MS = 7000;

/** Changes that go to the home file itself; `$1` is the image. */
const CHANGES: Record<string, string> = {
  touched: 'touch "$1"',
  "touched for the future": 'touch -d 2035-01-01 "$1"',
  punched: 'fallocate -p -o 1M -l 1M "$1"',
  zeroed: 'fallocate -z -o 1M -l 1M "$1"',
  allocated: 'fallocate -n -o 1M -l 1M "$1"',
  "truncated to its size": `truncate -s ${8 * MiB} "$1"`,
  "made longer": `truncate -s ${9 * MiB} "$1"`,
};

/** Scattered blocks, so that flushing them goes into the journal. */
const WRITE = `truncate -s ${8 * MiB} "$1"
for block in 3 90 310 500 777 1200 1500; do
  dd if=/dev/urandom of="$1" bs=4k count=1 seek=$block conv=notrunc,fsync status=none
done`;

const sh = (script: string, image: string): Promise<unknown> => succeed("sh", ["-ec", script, "sh", image]);

test("sync: changes of home files long after the last flush do not make recovery refuse", async (context) => {
  need(context, "root", "/dev/fuse", "losetup", "mkfs.ext4");
  const { directory: backing } = await loopFilesystem("ext4", 256);
  const args = ["--cache-size", "16M", "--journal-size", "16M", "--device", "hdd"];
  const daemon = await mountHypegear({ backing, args });
  const at = (name: string): string => join(daemon.mountpoint, name);
  for (const name of Object.keys(CHANGES)) await sh(WRITE, at(name));
  expect(daemon.stats().journal.commits_live).toBeGreaterThan(0);
  await sleep(QUIET_MS);
  for (const [name, change] of Object.entries(CHANGES)) await sh(change, at(name));
  await sleep(500);
  await cutPower(daemon);
  expect(await hypegear(["recover", backing])).toMatchObject({ code: 0 });
});

test("and somebody else's change long after it still does", async (context) => {
  need(context, "root", "/dev/fuse", "losetup", "mkfs.ext4");
  const { directory: backing } = await loopFilesystem("ext4", 256);
  const args = ["--cache-size", "16M", "--journal-size", "16M", "--device", "hdd"];
  const daemon = await mountHypegear({ backing, args });
  await sh(WRITE, join(daemon.mountpoint, "image"));
  await cutPower(daemon);
  const later = Date.now() / 1000 + 60;
  utimesSync(join(backing, "image"), later, later);
  expect(await hypegear(["recover", backing])).toMatchObject({
    code: 3,
    stderr: expect.stringMatching(/image \(modified/) as string,
  });
});
