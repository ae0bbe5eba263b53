/** Numbers at the ends of their ranges, from whoever may use the mount: refused or taken, and nobody else is hurt. */
import { readFileSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { run } from "../support/run.ts";

/** A time beyond what an ext4 inode has. */
const FAR_SECONDS = "9223372036854775807";
const ROUNDS = 40;

test.for([[], ["--cache", "off"]])(
  "a write beyond all sizes is refused, and other files keep theirs: %j",
  async (args, context) => {
    need(context, "root", "/dev/fuse");
    const daemon = await mountHypegear({ args: ["--cache-size", "8M", ...args] });
    const at = (name: string): string => join(daemon.mountpoint, name);
    const bytes = (fill: number): Buffer => Buffer.alloc(8192, fill);
    writeFileSync(at("far"), "");
    for (let i = 0; i < ROUNDS; i++) {
      writeFileSync(at(`image${i}`), bytes(1 + i));
      const far = await run("dd", [
        "if=/dev/zero",
        `of=${at("far")}`,
        "bs=4096",
        "count=1",
        `seek=${2 ** 48}`,
        "conv=notrunc",
      ]);
      expect(far).toMatchObject({ code: 1, stderr: expect.stringMatching(/File too large/) as string });
      writeFileSync(at("filler"), Buffer.alloc(1 << 19, 0xff)); // so that all frames are used again soon
    }
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    for (let i = 0; i < ROUNDS; i++)
      expect(readFileSync(join(daemon.backing, `image${i}`)).equals(bytes(1 + i))).toBe(true);
    expect(statSync(join(daemon.backing, "far")).size).toBe(0);
  },
);

test("a time of modification beyond all times is what the filesystem makes of it", async (context) => {
  need(context, "root", "/dev/fuse", "python3");
  const daemon = await mountHypegear();
  const [image, home] = [daemon.mountpoint, daemon.backing].map((folder) => join(folder, "image")) as [string, string];
  writeFileSync(image, "x");
  const script = `import ctypes, os, sys
fd = os.open(sys.argv[1], os.O_RDWR)
times = (ctypes.c_int64 * 4)(0, 0x3ffffffe, ${FAR_SECONDS}, 0)
sys.exit(ctypes.CDLL(None).futimens(fd, times))`;
  expect(await run("python3", ["-c", script, image])).toMatchObject({ code: 0 });
  const far = statSync(image).mtimeMs;
  expect(far).toBeGreaterThan(Date.parse("2400-01-01"));
  expect(await daemon.cli("flush")).toMatchObject({ code: 0 });
  expect(statSync(home).mtimeMs).toBe(far);
  utimesSync(image, 1000, 1000);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(statSync(home).mtimeMs).toBe(1_000_000);
});
