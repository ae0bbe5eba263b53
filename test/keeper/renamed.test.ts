/** A directory above the mountpoint is renamed while it is mounted: the mount is ended all the same, at its new place. */
import { mkdirSync, renameSync } from "node:fs";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { hypegear } from "../support/daemon.ts";
import { isHypegearMount, unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { isAlive } from "../support/processes.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { killBoth, leftovers, type Places, places, type Started, startKeeper } from "./stubbed.ts";

/** A mount whose mountpoint is at `now.mountpoint` by the time this resolves, and was at `before.mountpoint` when it began. */
async function renamed(behaviour: string): Promise<{ before: Places; now: Places; started: Started }> {
  const at = places();
  const above = scratchDirectory("above");
  const before = { ...at, mountpoint: join(above, "before", "mnt") };
  const now = { ...at, mountpoint: join(above, "now", "mnt") };
  mkdirSync(before.mountpoint, { recursive: true });
  testScope(async () => {
    for (const { mountpoint } of [before, now]) await unmountLazily(mountpoint);
  });
  const started = await startKeeper(before, behaviour);
  renameSync(dirname(before.mountpoint), dirname(now.mountpoint));
  expect(isHypegearMount(now.mountpoint)).toBe(true);
  return { before, now, started };
}

/** Fails while the keeper lives, rather than waiting for its end. */
async function ended(at: Places, started: Started): Promise<void> {
  started.keeper.kill("SIGTERM");
  await waitFor("the unmount", () => !isHypegearMount(at.mountpoint));
  expect(await started.ended).toBe(ExitCode.done);
  expect(leftovers(at)).toEqual([]);
}

test("on SIGTERM", async (context) => {
  need(context, "root");
  const { now, started } = await renamed("serve");
  await ended(now, started);
});

test("on SIGTERM, also when there is another mount at the old place, which stays", async (context) => {
  need(context, "root");
  const { before, now, started } = await renamed("serve");
  mkdirSync(before.mountpoint, { recursive: true });
  const other = { ...places(), mountpoint: before.mountpoint };
  const next = await startKeeper(other, "serve");
  await ended(now, started);
  await ended(other, next);
});

test("by umount, which waits for the daemon's end", async (context) => {
  need(context, "root");
  const { now, started } = await renamed("linger 2");
  expect(await hypegear(["umount", now.mountpoint])).toEqual({ code: ExitCode.done, stdout: "", stderr: "" });
  expect(isAlive(started.keeper.pid!)).toBe(false);
  expect(leftovers(now)).toEqual([]);
});

test("by umount when its daemon is dead, which says that the slab still has the writes", async (context) => {
  need(context, "root");
  const { now, started } = await renamed("serve");
  await killBoth(started, now);
  expect(await hypegear(["umount", now.mountpoint])).toMatchObject({
    code: ExitCode.refused,
    stderr: expect.stringContaining("the slab still keeps the writes") as string,
  });
});

test("a copy of it is unmounted without waiting for the mount itself", async (context) => {
  need(context, "root", "mount");
  const { now, started } = await renamed("serve");
  const copy = scratchDirectory("copy");
  testScope(() => unmountLazily(copy));
  await succeed("mount", ["--bind", now.mountpoint, copy]);
  expect(await hypegear(["umount", copy])).toEqual({ code: ExitCode.done, stdout: "", stderr: "" });
  expect(isHypegearMount(now.mountpoint)).toBe(true);
  await ended(now, started);
});
