/** The commands against a mount whose engine is a stub that answers as told. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { closeSync, openSync, renameSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { events, leftovers, places, startKeeper, writeState } from "../keeper/stubbed.ts";
import { HYPEGEAR, hypegear } from "../support/daemon.ts";
import { isHypegearMount } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { isAlive } from "../support/processes.ts";
import { run } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";

/** Longer than umount waits for a keeper's end. */
const WAITS_MS = 10_000;

describe("umount", () => {
  test.for([false, true])(
    "drains, unmounts, and returns when nothing is left (over itself: %s)",
    async (overItself, context) => {
      need(context, "root");
      const at = places(overItself);
      const { ended } = await startKeeper(at, "serve");
      expect(await hypegear(["umount", at.mountpoint])).toEqual({ code: ExitCode.done, stdout: "", stderr: "" });
      expect(leftovers(at)).toEqual([]);
      expect(events(at)).toContain("control drain");
      expect(await ended).toBe(ExitCode.done);
    },
  );

  test("waits for an engine that needs several attempts to get everything home", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "linger 2");
    expect((await hypegear(["umount", at.mountpoint])).code).toBe(ExitCode.done);
    expect(events(at).filter((line) => line === "unmounted")).toHaveLength(3);
    expect(leftovers(at)).toEqual([]);
  });

  test.for([
    { of: "another slab", changes: { identity: "of the next mount", pid: process.pid }, code: ExitCode.done },
    { of: "the same slab, carried on with", changes: { pid: process.pid }, code: ExitCode.refused },
  ])(
    "does not wait for a mount that begins at the same place meanwhile, of $of",
    async ({ changes, code }, context) => {
      need(context, "root");
      const at = places();
      const { keeper, ended } = await startKeeper(at, "serve");
      keeper.kill("SIGSTOP"); // so that the state stays
      const outcome = hypegear(["umount", at.mountpoint]);
      await waitFor("the unmount", () => !isHypegearMount(at.mountpoint));
      writeState(at.backing, changes);
      const first = await Promise.race([outcome, sleep(WAITS_MS)]);
      keeper.kill("SIGCONT");
      expect(first).toMatchObject({ code });
      expect(await ended).toBe(ExitCode.done);
    },
  );

  test("waits for the daemon's end also where the backing directory was renamed", async (context) => {
    need(context, "root");
    const at = places();
    const { keeper, ended } = await startKeeper(at, "linger 4");
    const moved = join(scratchDirectory("moved"), "images");
    renameSync(at.backing, moved);
    expect(await hypegear(["umount", at.mountpoint])).toEqual({ code: ExitCode.done, stdout: "", stderr: "" });
    expect(isAlive(keeper.pid!)).toBe(false);
    expect(await ended).toBe(ExitCode.done);
    expect(leftovers({ ...at, backing: moved })).toEqual([]);
  });

  test("leaves the mount in place when not everything can be brought home", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "serve\ndrain=error 1 drain: disk.raw: EIO; mend the device and try again");
    const outcome = await hypegear(["umount", at.mountpoint]);
    expect(outcome.code).toBe(ExitCode.failed);
    expect(outcome.stderr).toBe(`hypegear: ${at.mountpoint}: drain: disk.raw: EIO; mend the device and try again\n`);
    expect(isHypegearMount(at.mountpoint)).toBe(true);
  });

  test("of a busy mount names who uses it, and leaves it mounted", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "serve");
    const fd = openSync(join(at.mountpoint, "disk.raw"), "r");
    const outcome = await hypegear(["umount", at.mountpoint]);
    closeSync(fd);
    expect(outcome.code).toBe(ExitCode.failed);
    expect(outcome.stderr).toMatch(
      /^hypegear: umount \S+: still used by .*\(pid \d+\); all data is home: end that and umount again\n$/,
    );
    expect(outcome.stderr).toContain(`(pid ${process.pid})`);
    expect(isHypegearMount(at.mountpoint)).toBe(true);
  });

  test("names a process whose working directory is in the mount", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "serve");
    const sleeper = spawn("sleep", ["60"], { cwd: at.mountpoint });
    const outcome = await hypegear(["umount", at.mountpoint]);
    sleeper.kill("SIGKILL");
    expect(outcome.stderr).toContain(`still used by sleep (pid ${sleeper.pid})`);
  });

  test("does not wait for a mount namespace that keeps a copy of the mount: it names a process there", async (context) => {
    need(context, "root", "unshare");
    const at = places();
    const { ended } = await startKeeper(at, "serve");
    const container = spawn("unshare", ["--mount", "sh", "-c", "echo inside; exec sleep 60"], {
      stdio: ["ignore", "pipe", "ignore"],
    });
    testScope(() => container.kill("SIGKILL"));
    await once(container.stdout, "data");
    const outcome = await hypegear(["umount", at.mountpoint]);
    expect(outcome.code).toBe(ExitCode.failed);
    expect(outcome.stderr).toMatch(
      /unmounted here, but still mounted in the mount namespace of sleep \(pid \d+\); end that/,
    );
    container.kill("SIGKILL");
    expect(await ended).toBe(ExitCode.done);
    expect(leftovers(at)).toEqual([]);
  });

  test("of the backing directory says where its mount is", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "serve");
    const outcome = await hypegear(["umount", at.backing]);
    expect(outcome.code).toBe(ExitCode.failed);
    expect(outcome.stderr).toContain(`not the mountpoint; it is mounted at ${at.mountpoint}, give that`);
  });
});

describe("flush, set and stats", () => {
  test("speak with the control file, and exit as it answers", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "serve\nflush none=error 2 flush none: no such image\nset device=hdd=error 3 not now");
    const commands = [
      ["flush", at.mountpoint],
      ["flush", at.mountpoint, "sub/disk 1.raw"],
      ["flush", at.mountpoint, `${at.mountpoint}/disk.raw`],
      ["flush", at.mountpoint, "..img"],
      ["set", at.mountpoint, "rate-limit=10M", "dirty-limit=50%", "max-age=1m", "log-level=debug"],
    ];
    for (const command of commands)
      expect(await hypegear(command)).toEqual({ code: ExitCode.done, stdout: "", stderr: "" });
    expect(events(at).filter((line) => line.startsWith("control"))).toEqual([
      "control flush",
      "control flush sub/disk 1.raw",
      "control flush disk.raw",
      "control flush ..img",
      "control set rate-limit=10485760",
      "control set dirty-limit=0.5",
      "control set max-age=60",
      "control set log-level=debug",
    ]);
    const unknown = await hypegear(["flush", at.mountpoint, "none"]);
    expect(unknown).toMatchObject({
      code: ExitCode.usage,
      stderr: `hypegear: ${at.mountpoint}: flush none: no such image\n`,
    });
    expect((await hypegear(["set", at.mountpoint, "device=hdd"])).code).toBe(ExitCode.refused);
    expect((await hypegear(["flush", at.mountpoint, "../outside"])).code).toBe(ExitCode.usage);
  });

  test("stats prints the text, or with --json the JSON", async (context) => {
    need(context, "root");
    const at = places();
    await startKeeper(at, "serve");
    expect((await hypegear(["stats", at.mountpoint])).stdout).toBe("stub statistics\n");
    expect(JSON.parse((await hypegear(["stats", at.mountpoint, "--json"])).stdout)).toMatchObject({
      dirty: { bytes: 0 },
    });
  });

  test("say what to do when the daemon is dead", async (context) => {
    need(context, "root");
    const at = places();
    const { keeper, ended } = await startKeeper(at, "mute");
    await ended;
    keeper.kill("SIGKILL");
    const outcome = await hypegear(["stats", at.mountpoint]);
    expect(outcome.code).toBe(ExitCode.failed);
    expect(outcome.stderr).toContain(
      `its daemon is dead (ENOTCONN); hypegear umount ${at.mountpoint}, then mount again`,
    );
  });

  test("are refused to another user with exit code 4", async (context) => {
    need(context, "root", "setpriv");
    const at = places();
    await startKeeper(at, "serve", { allowOther: true });
    const outcome = await run("setpriv", ["--reuid=65534", "--clear-groups", HYPEGEAR, "flush", at.mountpoint]);
    expect(outcome.code).toBe(ExitCode.forbidden);
    expect(outcome.stderr).toMatch(/permission denied \(EACCES\); run as the user who mounted it, or as root\n$/);
  });
});
