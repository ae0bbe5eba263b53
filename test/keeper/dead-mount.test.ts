/** A mount whose keeper and engine are dead: it keeps guests from writing past the cache until another mount serves. */
import { mkdirSync, rmSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { hypegear } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { isHypegearMount, unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { run } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { removeSlab } from "../support/slabs.ts";
import { killBoth, leftovers, type Places, places, slabOf, startKeeper, stopped } from "./stubbed.ts";

/** Nobody serves the mount at `path`, and it is there. */
const expectDead = (path: string): Promise<void> => expect(stat(path)).rejects.toThrow(/ENOTCONN|ECONNABORTED/);

async function dead(at: Places): Promise<Places> {
  await killBoth(await startKeeper(at, "serve"), at);
  await expectDead(at.mountpoint);
  return at;
}

const checked = async ({ backing }: Places): Promise<string> => (await hypegear(["check", backing])).stdout;

describe("a dead mount over its own directory stays", () => {
  test("when check and recover look beneath it, and until a mount serves in its place", async (context) => {
    need(context, "root");
    const at = await dead(places(true));
    expect(await checked(at)).toMatch(/mount +dead, at .*\n.*slab.*\n.*journal .*16M.*\n.*nothing is lost/);
    expect(await hypegear(["recover", at.backing])).toMatchObject({
      code: ExitCode.refused,
      stderr: expect.stringContaining("mount it, which carries on with both") as string,
    });
    await expectDead(at.mountpoint);
    const next = await startKeeper(at, "serve");
    expect(JSON.stringify(next.report)).toContain("carrying on with the slab");
    expect((await stat(at.mountpoint)).isDirectory()).toBe(true);
    await stopped(at, next);
  });

  test("when a mount is refused, and when recover has brought home what it could", async (context) => {
    need(context, "root");
    const at = await dead(places(true));
    rmSync(slabOf(at.backing));
    expect((await startKeeper(at, "serve")).report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    await expectDead(at.mountpoint);
    const recovered = await hypegear(["recover", "--force", at.backing]);
    expect(recovered.code).toBe(ExitCode.done);
    expect(recovered.stderr).toContain(`the dead mount at ${at.backing} is still there; hypegear umount`);
    await expectDead(at.mountpoint);
    expect((await hypegear(["umount", at.mountpoint])).code).toBe(ExitCode.done);
    expect(leftovers(at).filter((path) => path !== dirname(slabOf(at.backing)))).toEqual([]);
  });

  test("when the engine of the next mount refuses: then that one's mount is the dead one", async (context) => {
    need(context, "root");
    const at = await dead(places(true));
    const refused = await startKeeper(at, "fail");
    expect(refused.report).toMatchObject({ type: "failed", message: "stub: refuses; as told" });
    await refused.ended;
    await expectDead(at.mountpoint);
    const next = await startKeeper(at, "serve");
    expect(JSON.stringify(next.report)).toContain("carrying on with the slab");
    await stopped(at, next);
  });

  test("also where the directory is the root of a filesystem", async (context) => {
    need(context, "root", "losetup", "mkfs.ext4", "umount");
    const { directory } = await loopFilesystem("ext4", 64);
    const slab = dirname(slabOf(directory));
    testScope(async () => {
      await unmountLazily(directory);
      await removeSlab(slab);
    });
    const at = await dead({ ...places(), backing: directory, mountpoint: directory });
    expect(await checked(at)).toContain("carries on with the slab");
    await expectDead(at.mountpoint);
    const next = await startKeeper(at, "serve");
    expect(JSON.stringify(next.report)).toContain("carrying on with the slab");
    // What serves is known to use the filesystem, so that nobody takes that away.
    const busy = await run("sh", ["-c", `umount -l "$1" && ! umount "$1"`, "sh", directory]);
    expect(busy).toMatchObject({ code: 0, stderr: expect.stringMatching(/busy/) as string });
    expect(await next.ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([`mount on ${directory}`]); // the filesystem's own
  });
});

test("a dead mount elsewhere stays until the next one serves, wherever that is", async (context) => {
  need(context, "root");
  const at = await dead(places());
  const other = { ...at, mountpoint: join(dirname(at.behaviour), "mnt") };
  mkdirSync(other.mountpoint);
  testScope(() => unmountLazily(other.mountpoint));
  const refused = await startKeeper(other, "fail");
  await refused.ended;
  await expectDead(at.mountpoint);
  expect(isHypegearMount(other.mountpoint)).toBe(false);
  const next = await startKeeper(other, "serve");
  expect(isHypegearMount(at.mountpoint)).toBe(false);
  await stopped(other, next);
});
