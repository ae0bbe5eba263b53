import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { type Daemon, mountHypegear, refusedMount } from "./support/daemon.ts";
import { loopFilesystem } from "./support/loop.ts";
import { mounts } from "./support/mounts.ts";
import { need } from "./support/need.ts";
import { isAlive, processes } from "./support/processes.ts";
import { run, succeed } from "./support/run.ts";
import { blockScope } from "./support/scope.ts";
import { scratchDirectory } from "./support/scratch.ts";
import { waitFor } from "./support/wait.ts";

describe("run", () => {
  test("gives exit code and both outputs, and feeds the input", async () => {
    const outcome = await run("sh", ["-c", "cat; echo said >&2; exit 3"], { input: "fed" });
    expect(outcome).toEqual({ code: 3, stdout: "fed", stderr: "said\n" });
  });

  test("kills what does not end in time and says what it was", async () => {
    await expect(run("sleep", ["1000"], { timeout: 100 })).rejects.toThrow("sleep 1000: still running after 100 ms");
    expect(processes().filter(({ parent, command }) => parent === process.pid && command === "sleep 1000")).toEqual([]);
  });

  test("rejects for a command that is not there", async () => {
    await expect(run("no-such-command")).rejects.toThrow("no-such-command: spawn no-such-command ENOENT");
    await expect(succeed("sh", ["-c", "echo why >&2; exit 1"])).rejects.toThrow("exit code 1\nwhy");
  });
});

describe("scratchDirectory", () => {
  const shared = scratchDirectoryOfBlock();
  let ofTest = "";

  test("is there during the test", () => {
    ofTest = scratchDirectory();
    mkdirSync(join(ofTest, "deep", "er"), { recursive: true });
    writeFileSync(join(shared(), "file"), "kept");
  });

  test("is gone after the test, the block's is not", () => {
    expect(existsSync(ofTest)).toBe(false);
    expect(existsSync(join(shared(), "file"))).toBe(true);
  });
});

function scratchDirectoryOfBlock(): () => string {
  const scope = blockScope();
  let path: string | undefined;
  return () => (path ??= scratchDirectory("block", scope));
}

describe("loopFilesystem", () => {
  let last: { directory: string; device: string } | undefined;

  test.for(["ext4", "xfs"] as const)("gives a mounted %s of its own", async (kind, context) => {
    need(context, "root", "losetup", `mkfs.${kind}`);
    last = await loopFilesystem(kind, 300);
    writeFileSync(join(last.directory, "file"), "data");
    expect(mounts().find(({ mountpoint }) => mountpoint === last?.directory)).toMatchObject({
      type: kind,
      source: last.device,
    });
  });

  test("is unmounted after its test", () => {
    expect(mounts().filter(({ mountpoint }) => mountpoint === last?.directory)).toEqual([]);
  });
});

describe("waitFor", () => {
  test("gives the first value that is one", async () => {
    let asked = 0;
    expect(await waitFor("the third time", () => (++asked === 3 ? "there" : undefined))).toBe("there");
  });

  test("says what it waited for", async () => {
    await expect(waitFor("a miracle", () => false, 60)).rejects.toThrow("waited 60 ms for a miracle");
  });
});

test("isAlive tells a running process from a dead one", async () => {
  expect(isAlive(process.pid)).toBe(true);
  const pid = Number(await succeed("sh", ["-c", "echo $$"]));
  expect(isAlive(pid)).toBe(false);
});

test("refusedMount gives the exit code and the message of a mount that does not come up", async () => {
  const { code, stderr } = await refusedMount({ backing: join(scratchDirectory(), "missing") });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^hypegear: .*missing: .*\n$/);
});

describe("mountHypegear", () => {
  let last: { daemon: Daemon; pids: number[] } | undefined;

  test("serves, follows an engine that is replaced, and lets go", async (context) => {
    need(context, "root", "/dev/fuse");
    const daemon = await mountHypegear();
    writeFileSync(join(daemon.mountpoint, "image"), "data");
    const first = await daemon.enginePid();
    await daemon.kill("engine");
    expect(readFileSync(join(daemon.mountpoint, "image"), "utf8")).toBe("data");
    expect(daemon.stats().engine).toMatchObject({ pid: await daemon.enginePid(), restarts: 1 });
    expect(isAlive(first)).toBe(false);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(readFileSync(join(daemon.backing, "image"), "utf8")).toBe("data");
  });

  test("takes away what a test leaves mounted", async (context) => {
    need(context, "root", "/dev/fuse");
    const daemon = await mountHypegear();
    writeFileSync(join(daemon.mountpoint, "image"), "data");
    last = { daemon, pids: [daemon.keeperPid, await daemon.enginePid()] };
    expect(existsSync(daemon.slab!)).toBe(true);
  });

  test("which is then gone", (context) => {
    context.skip(last === undefined, "nothing was mounted");
    const { daemon, pids } = last!;
    expect(pids.filter(isAlive)).toEqual([]);
    expect(existsSync(daemon.slab!)).toBe(false);
    expect(mounts().filter(({ mountpoint }) => mountpoint === daemon.mountpoint)).toEqual([]);
  });
});
