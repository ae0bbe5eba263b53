/** Images that the backing directory lets be read, and not written: no write is accepted that could never go home. */
import { chmodSync, closeSync, fsyncSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";

/** A daemon over `a.img`, and a writer that has had it open through the mount since before its engine was replaced. */
async function openedBefore(
  attribute: string,
  args: readonly string[] = [],
): Promise<{ daemon: Daemon; fd: number; image: string }> {
  const backing = scratchDirectory("backing");
  const image = join(backing, "a.img");
  writeFileSync(image, Buffer.alloc(65_536, 0x6f));
  const daemon = await mountHypegear({ backing, args });
  const fd = openSync(join(daemon.mountpoint, "a.img"), "r+");
  await succeed("chattr", [`+${attribute}`, image]);
  testScope(() => succeed("chattr", [`-${attribute}`, image]));
  await daemon.kill("engine");
  return { daemon, fd, image };
}

test.for(["i", "a", "i --cache off"])(
  "a write to an image that was made read-only (chattr +%s) is refused until it may be written again",
  async (row, context) => {
    need(context, "root", "/dev/fuse", "chattr");
    const [attribute = "", ...args] = row.split(" ");
    const { daemon, fd, image } = await openedBefore(attribute, args);
    expect(readFileSync(join(daemon.mountpoint, "a.img"))[0]).toBe(0x6f);
    expect(() => writeSync(fd, "x", 0)).toThrow(/EPERM/);
    await expect(succeed("truncate", ["-s", "10", join(daemon.mountpoint, "a.img")])).rejects.toThrow(/not permitted/);
    expect(daemon.stats().dirty.blocks).toBe(0);

    await succeed("chattr", [`-${attribute}`, image]);
    expect(writeSync(fd, "new", 0)).toBe(3);
    fsyncSync(fd);
    closeSync(fd);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(readFileSync(image, "latin1")).toBe(`new${"o".repeat(65_533)}`);
  },
);

test("dirty data of an image that was made read-only goes home when the next engine may write it", async (context) => {
  need(context, "root", "/dev/fuse", "chattr");
  const backing = scratchDirectory("backing");
  const image = join(backing, "a.img");
  writeFileSync(image, Buffer.alloc(65_536, 0x6f));
  const daemon = await mountHypegear({ backing });
  writeFileSync(join(daemon.mountpoint, "a.img"), "new", { flag: "r+" });
  chmodSync(image, 0o444);
  await succeed("chattr", ["+i", image]);
  testScope(() => succeed("chattr", ["-i", image]));
  await daemon.kill("engine");
  expect(await daemon.cli("flush")).toMatchObject({ code: 1, stderr: expect.stringMatching(/EPERM/) as string });
  await succeed("chattr", ["-i", image]);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(readFileSync(image, "latin1")).toBe(`new${"o".repeat(65_533)}`);
});
