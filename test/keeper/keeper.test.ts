import {
  chownSync,
  closeSync,
  cpSync,
  existsSync,
  fstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { ENGINE_DEATHS_MAX, ENGINE_SETTLED_US } from "../../src/base/limits.ts";
import { mountTable } from "../../src/sys/mount-table.ts";
import { hypegear } from "../support/daemon.ts";
import { isHypegearMount, unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { kill } from "../support/processes.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";
import { waitFor } from "../support/wait.ts";
import { enginePids, events, killBoth, leftovers, places, readState, slabOf, startKeeper, stopped } from "./stubbed.ts";

const NOBODY = 65534;

const starts = (lines: string[]): string[] =>
  lines.filter((line) => line.startsWith("start")).map((line) => line.replace(/ pid .*/, ""));

describe("a keeper", () => {
  test("reports when its engine serves, and on SIGTERM drains, unmounts and leaves nothing behind", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "serve");
    expect(started.report).toMatchObject({ type: "ready", cacheBytes: 8 * 2 ** 20, notices: [] });
    expect(isHypegearMount(at.mountpoint)).toBe(true);
    expect((await stat(at.mountpoint)).isDirectory()).toBe(true);
    started.keeper.kill("SIGTERM");
    started.keeper.kill("SIGINT");
    expect(await started.ended).toBe(ExitCode.done);
    expect(events(at).filter((line) => line === "drain")).toHaveLength(1);
    expect(leftovers(at)).toEqual([]);
  });

  test("keeps its state and the slab to the mounting user alone", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "serve");
    const modes = [
      `${at.backing}/.hypegear`,
      `${at.backing}/.hypegear/state.json`,
      slabOf(at.backing),
      dirname(slabOf(at.backing)),
    ];
    expect(modes.map((path) => statSync(path).mode & 0o077)).toEqual([0, 0, 0, 0]);
  });

  test("starts a killed engine again, on the same mount", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "serve");
    kill(enginePids(at)[0]!);
    await waitFor("a second engine", () => starts(events(at)).includes("start 1"));
    expect((await stat(at.mountpoint)).isDirectory()).toBe(true);
    started.keeper.kill("SIGTERM");
    expect(await started.ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([]);
  });

  test("drains through the next engine when one dies in the drain", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "serve");
    kill(enginePids(at)[0]!);
    started.keeper.kill("SIGTERM");
    expect(await started.ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([]);
  });

  test("stops after five deaths without a request served, keeps slab and state, and the next mount adopts them", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "mute");
    expect(await started.ended).toBe(ExitCode.failed);
    expect(starts(events(at))).toHaveLength(ENGINE_DEATHS_MAX);
    expect(readFileSync(started.logFile, "utf8")).toContain("giving up. The slab keeps all writes");
    expect(existsSync(slabOf(at.backing))).toBe(true);

    const next = await startKeeper(at, "serve", { cacheBytes: 16 * 2 ** 20 });
    expect(next.report).toMatchObject({ type: "ready", cacheBytes: 8 * 2 ** 20 });
    expect(JSON.stringify(next.report)).toContain("the cache keeps its 8M because unwritten data is in it");
    expect(starts(events(at)).at(-1)).toBe("start 0 adopted");
  });

  test("forgets deaths once an engine has been ready for some time, though nobody asked it for anything", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "serve");
    const killed = async (count: number): Promise<void> => {
      kill(enginePids(at)[0]!);
      await waitFor(`start ${count}`, () => starts(events(at)).includes(`start ${count}`));
    };
    for (let count = 1; count < ENGINE_DEATHS_MAX; count++) await killed(count);
    await sleep(ENGINE_SETTLED_US / 1000 + 1000);
    await killed(ENGINE_DEATHS_MAX);
    await stopped(at, started);
  });

  test("starts the engine again and again after the unmount until everything is home", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "linger 3");
    started.keeper.kill("SIGTERM");
    expect(await started.ended).toBe(ExitCode.done);
    expect(starts(events(at))).toEqual(["start 0", "start 1", "start 2", "start 3"]);
    expect(leftovers(at)).toEqual([]);
  });

  test("passes on why its engine refused to start, and leaves nothing behind", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "fail");
    expect(started.report).toEqual({ type: "failed", message: "stub: refuses; as told", exitCode: 3 });
    expect(await started.ended).toBe(ExitCode.refused);
    expect(leftovers(at)).toEqual([]);
  });

  test("says how its engine died before it served, and leaves nothing behind", async (context) => {
    need(context, "root");
    const at = places();
    const { report } = await startKeeper(at, "die");
    expect(report).toMatchObject({ type: "failed", exitCode: ExitCode.failed });
    expect(JSON.stringify(report)).toContain("the engine ended before it served (SIGKILL)");
    expect(leftovers(at)).toEqual([]);
  });

  test("on SIGTERM takes a busy mount out of the tree, and ends with its last user's close", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "serve");
    const fd = openSync(join(at.mountpoint, "disk.raw"), "r");
    started.keeper.kill("SIGTERM");
    await waitFor("the unmount", () => !isHypegearMount(at.mountpoint));
    expect(events(at)).not.toContain("unmounted");
    closeSync(fd);
    expect(await started.ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([]);
  });

  test("on SIGTERM leaves a busy mount over BACKING itself, so that nobody reaches the images past it", async (context) => {
    need(context, "root");
    const at = places(true);
    const started = await startKeeper(at, "serve");
    const fd = openSync(join(at.mountpoint, "disk.raw"), "r");
    started.keeper.kill("SIGTERM");
    const log = (): string => readFileSync(started.logFile, "utf8");
    await waitFor("the end of the drain", () => !isHypegearMount(at.mountpoint) || log().includes("in use; it stays"));
    expect(isHypegearMount(at.mountpoint)).toBe(true);
    expect(statSync(join(at.mountpoint, "disk.raw")).dev).toBe(fstatSync(fd).dev);
    closeSync(fd);
    expect(await started.ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([]);
  });

  test("a SIGTERM that another mount on top made vain can be sent again when that is gone", async (context) => {
    need(context, "root", "mount", "umount");
    const at = places();
    const started = await startKeeper(at, "serve");
    await succeed("mount", ["-t", "tmpfs", "none", at.mountpoint]);
    started.keeper.kill("SIGTERM");
    await waitFor("the refusal", () =>
      readFileSync(started.logFile, "utf8").includes("another mount lies on top of it"),
    );
    await succeed("umount", [at.mountpoint]);
    await stopped(at, started);
  });

  test("an aborted connection counts as an unmount", async (context) => {
    need(context, "root");
    const at = places();
    const started = await startKeeper(at, "serve");
    const connection = mountTable()
      .find((entry) => entry.path === at.mountpoint)!
      .device.split(":")[1]!;
    const connections = scratchDirectory("connections");
    testScope(() => unmountLazily(connections));
    await succeed("mount", ["-t", "fusectl", "none", connections]);
    writeFileSync(join(connections, connection, "abort"), "1");
    expect(await started.ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([]);
  });

  test("an unmount by others, umount(8), ends it cleanly too", async (context) => {
    need(context, "root", "umount");
    const at = places(true);
    const started = await startKeeper(at, "serve");
    await succeed("umount", [at.mountpoint]);
    expect(await started.ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([]);
  });

  test("mounts as an ordinary user through fusermount3, also a directory with a comma and a blank in its name", async (context) => {
    need(context, "root", "unshare", "setpriv", "fusermount3");
    const at = places();
    const root = dirname(at.behaviour);
    const named = { ...at, backing: join(root, "my images, old"), mountpoint: join(root, "mnt") };
    mkdirSync(named.backing);
    mkdirSync(named.mountpoint);
    for (const path of [root, named.backing, named.mountpoint]) chownSync(path, NOBODY, NOBODY);
    const prepare = "mount -t tmpfs none /mnt; mknod -m 666 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse";
    const user = `setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups`;
    const started = await startKeeper(named, "serve", { noexec: true }, [
      "unshare",
      "--mount",
      "sh",
      "-ec",
      `${prepare}\nexec ${user} "$@"`,
      "sh",
    ]);
    expect(started.report).toMatchObject({ type: "ready", backing: named.backing });
    expect(readFileSync(`/proc/${started.keeper.pid}/mounts`, "utf8")).toMatch(/ fuse\.hypegear \S*\bnoexec\b/);
    started.keeper.kill("SIGTERM");
    expect(await started.ended).toBe(ExitCode.done);
    expect(leftovers(named)).toEqual([]);
  });
});

describe("a second daemon (fault 12)", () => {
  test("is refused while the first one lives, and told its pid and mountpoint", async (context) => {
    need(context, "root");
    const at = places();
    const first = await startKeeper(at, "serve");
    const second = await startKeeper({ ...at, mountpoint: places().mountpoint }, "serve");
    expect(second.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    expect(JSON.stringify(second.report)).toContain(`${at.mountpoint} (keeper pid ${first.keeper.pid})`);
    expect(readState(at.backing).pid).toBe(first.keeper.pid);
  });

  test("is refused while only the engine lives", async (context) => {
    need(context, "root");
    const at = places();
    const first = await startKeeper(at, "serve");
    first.keeper.kill("SIGKILL");
    await first.ended;
    const second = await startKeeper({ ...at, mountpoint: places().mountpoint }, "serve");
    expect(second.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
  });

  test("is refused of a directory in its backing directory, or around it", async (context) => {
    need(context, "root");
    const [at, inner, around] = [places(), places(), places()];
    const middle = { ...at, backing: join(at.backing, "sub") };
    mkdirSync(join(middle.backing, "images"), { recursive: true });
    const slab = dirname(slabOf(middle.backing));
    testScope(() => removeSlab(slab));
    const first = await startKeeper(middle, "serve");
    const others = [
      { ...inner, backing: join(middle.backing, "images"), how: "lies in" },
      { ...around, backing: at.backing, how: "contains" },
    ];
    for (const { how, ...other } of others) {
      const { report } = await startKeeper(other, "serve");
      const todo = `use that mount, or unmount it first: hypegear umount ${middle.mountpoint}`;
      const message = `${other.backing}: ${how} ${middle.backing}, which hypegear has mounted; ${todo}`;
      expect(report).toEqual({ type: "failed", exitCode: ExitCode.refused, message });
      expect((await hypegear(["recover", other.backing])).stderr).toBe(`hypegear: ${message}\n`);
    }
    const beside = places();
    await stopped(beside, await startKeeper(beside, "serve"));
    await stopped(middle, first);
  });

  test("is refused of a directory in its backing directory when another mount namespace has the first", async (context) => {
    need(context, "root", "unshare");
    const [at, other] = [places(), places()];
    const inner = { ...other, backing: join(at.backing, "sub") };
    mkdirSync(inner.backing);
    const first = await startKeeper(at, "serve", {}, ["unshare", "--mount"]);
    expect(isHypegearMount(at.mountpoint)).toBe(false);
    const { report } = await startKeeper(inner, "serve");
    expect(JSON.stringify(report)).toContain(`lies in ${at.backing}, which hypegear has mounted; unmount that first`);
    await stopped(at, first);
  });

  test("is refused over the mount itself", async (context) => {
    need(context, "root");
    const at = places(true);
    const first = await startKeeper(at, "serve");
    const second = await startKeeper(at, "serve");
    expect(second.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    expect(JSON.stringify(second.report)).toContain(
      `already mounted by hypegear, from ${at.backing} (keeper pid ${first.keeper.pid})`,
    );
  });
});

describe("after the death of keeper and engine", () => {
  test.for([false, true])(
    "the next mount takes the dead one away and adopts the slab (over itself: %s)",
    async (overItself, context) => {
      need(context, "root");
      const at = places(overItself);
      await killBoth(await startKeeper(at, "serve"), at);
      await expect(stat(at.mountpoint)).rejects.toThrow(/ENOTCONN|ECONNABORTED/);
      const next = await startKeeper(at, "serve");
      expect(next.report).toMatchObject({
        type: "ready",
        notices: ["carrying on with the slab of the mount before: nothing is lost"],
      });
      expect(starts(events(at)).at(-1)).toBe("start 0 adopted");
      next.keeper.kill("SIGTERM");
      expect(await next.ended).toBe(ExitCode.done);
      expect(leftovers(at)).toEqual([]);
    },
  );

  test("umount takes the dead mount away, and says that the slab still has the writes", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    const outcome = await hypegear(["umount", at.mountpoint]);
    expect(outcome.code).toBe(ExitCode.refused);
    expect(outcome.stderr).toMatch(
      /^hypegear: .*the slab still keeps the writes.*; hypegear mount \S+ \S+ carries on with them\n$/,
    );
    expect(isHypegearMount(at.mountpoint)).toBe(false);
    expect(existsSync(slabOf(at.backing))).toBe(true);
  });

  test("a slab that is missing in the same boot is a refusal (fault 14), until the loss is accepted", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    rmSync(slabOf(at.backing));
    const refused = await startKeeper(at, "serve");
    expect(refused.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    expect(JSON.stringify(refused.report)).toContain("accept the loss with --force");
    expect(readState(at.backing).serving).toBe(true);
    const forced = await startKeeper(at, "serve", { force: true });
    expect(forced.report?.type).toBe("ready");
    expect(starts(events(at)).at(-1)).toBe("start 0");
  });

  test("a slab of another identity is never adopted and never deleted (fault 13)", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    const state = readState(at.backing);
    writeFileSync(join(at.backing, ".hypegear/state.json"), JSON.stringify({ ...state, identity: "another" }));
    const refused = await startKeeper(at, "serve", { force: true });
    expect(refused.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    expect(existsSync(slabOf(at.backing))).toBe(true);
  });

  test("a copy of the directory does not take the original's slab", async (context) => {
    need(context, "root");
    const [at, copy] = [places(), places()];
    await killBoth(await startKeeper(at, "serve"), at);
    cpSync(at.backing, copy.backing, { recursive: true });
    const refused = await startKeeper(copy, "serve");
    expect(refused.report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    expect(JSON.stringify(refused.report)).toContain("was moved or copied while it was mounted");
  });

  test("a state of another boot is taken as a power loss: mounted afresh, and said", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    rmSync(slabOf(at.backing));
    writeFileSync(
      join(at.backing, ".hypegear/state.json"),
      JSON.stringify({ ...readState(at.backing), bootId: "before" }),
    );
    const next = await startKeeper(at, "serve");
    expect(next.report?.type).toBe("ready");
    expect(JSON.stringify(next.report)).toContain("the host went down while");
    expect(starts(events(at)).at(-1)).toBe("start 0");
  });

  test("a start that was killed before it served expects no slab", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    writeFileSync(
      join(at.backing, ".hypegear/state.json"),
      JSON.stringify({ ...readState(at.backing), serving: false }),
    );
    expect((await startKeeper(at, "serve")).report).toMatchObject({ type: "ready", notices: [] });
  });
});
