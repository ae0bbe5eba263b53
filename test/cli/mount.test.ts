/** `hypegear mount` and `umount` with the real engine: ready when it returns, home when it is unmounted, nothing left. */
import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { copyFileSync, existsSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { readdir, readFile, stat, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { leftovers, type Places, readState, slabOf } from "../keeper/stubbed.ts";
import { HYPEGEAR, hypegear, mountHypegear } from "../support/daemon.ts";
import { isHypegearMount, unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { isAlive, kill, processes } from "../support/processes.ts";
import { type Outcome, run, start, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";
import { waitFor } from "../support/wait.ts";

let mark = 0;

/** Two empty directories, and a way to run commands whose daemons are gone when the test ends. */
function site(
  overItself = false,
): Places & { cli: (...args: string[]) => Promise<Outcome>; daemons: () => number[]; value: string } {
  const backing = scratchDirectory("backing");
  const mountpoint = overItself ? backing : scratchDirectory("mount");
  const slab = dirname(slabOf(backing));
  const value = `${process.pid}.${++mark}`;
  const daemons = (): number[] =>
    processes()
      .filter(({ environment }) => environment.includes(`HYPEGEAR_TEST_SITE=${value}`))
      .map(({ pid }) => pid);
  testScope(async () => {
    await waitFor("the daemons' end", () => {
      const left = daemons();
      for (const pid of left) kill(pid);
      return left.length === 0;
    });
    await unmountLazily(mountpoint);
    await removeSlab(slab);
  });
  const cli = (...args: string[]): Promise<Outcome> => run(HYPEGEAR, args, { env: { HYPEGEAR_TEST_SITE: value } });
  return { backing, mountpoint, behaviour: "", cli, daemons, value };
}

describe("mount", () => {
  test.for([false, true])(
    "returns when images can be used; umount when they are home (over itself: %s)",
    async (overItself, context) => {
      need(context, "root", "/dev/fuse");
      const at = site(overItself);
      writeFileSync(join(at.backing, "old.raw"), "already here");
      const args = overItself ? [at.backing] : [at.backing, at.mountpoint];
      const mounted = await at.cli("mount", ...args, "--cache-size", "16M");
      expect(mounted).toMatchObject({ code: ExitCode.done, stderr: "" });
      expect(mounted.stdout).toMatch(/^ready: .*, cache 16M\n$/);
      expect(await readFile(join(at.mountpoint, "old.raw"), "utf8")).toBe("already here");
      const bytes = randomBytes(3 * 2 ** 20 + 5);
      await writeFile(join(at.mountpoint, "new.raw"), bytes);
      expect(await at.cli("umount", at.mountpoint)).toEqual({ code: ExitCode.done, stdout: "", stderr: "" });
      expect(readFileSync(join(at.backing, "new.raw")).equals(bytes)).toBe(true);
      expect(leftovers(at)).toEqual([]);
      expect(at.daemons()).toEqual([]);
    },
  );

  test.for(["-m", "-dm"])(
    "warns with --allow-other, and only then, if the directory has an access list (setfacl %s)",
    async (kind, context) => {
      need(context, "root", "/dev/fuse", "setfacl");
      const at = site();
      const mount = async (...args: string[]): Promise<string> => {
        const { code, stderr } = await at.cli("mount", at.backing, at.mountpoint, "--cache-size", "16M", ...args);
        expect(code).toBe(ExitCode.done);
        expect(await at.cli("umount", at.mountpoint)).toMatchObject({ code: ExitCode.done });
        return stderr;
      };
      expect(await mount("--allow-other")).toBe("");
      await succeed("setfacl", [kind, "u:65534:-", at.backing]);
      expect(await mount()).toBe("");
      expect(await mount("--allow-other")).toMatch(/^hypegear: .*: the directory has a POSIX access list.*\n$/);
    },
  );

  test("takes its options from fstab's form too, and mount(8)'s own beside them", async (context) => {
    need(context, "root", "/dev/fuse");
    const at = site();
    const list = "rw,nosuid,_netdev,cache_size=8M,durability=volatile,show-control";
    const mounted = await at.cli(at.backing, at.mountpoint, "-o", list, "-o", "cache-size=12M");
    expect(mounted).toMatchObject({
      code: ExitCode.done,
      stdout: `ready: ${at.backing} at ${at.mountpoint}, cache 12M\n`,
    });
    expect(await readdir(at.mountpoint)).toContain(".hypegear");
    const stats = JSON.parse((await at.cli("stats", at.mountpoint, "--json")).stdout) as { durability: string };
    expect(stats.durability).toBe("volatile");
    expect((await at.cli("umount", at.mountpoint)).code).toBe(ExitCode.done);
  });

  test.for([
    { list: "noexec", code: 126 },
    { list: "user", code: 126 },
    { list: "users,exec", code: 0 },
  ])("with -o $list a program in it ends with $code", async ({ list, code }, context) => {
    need(context, "root", "/dev/fuse");
    const at = site();
    copyFileSync("/bin/true", join(at.backing, "program"));
    expect(await at.cli("mount", at.backing, at.mountpoint, "--cache-size", "8M", "-o", list)).toMatchObject({
      code: 0,
    });
    expect((await run("sh", ["-c", join(at.mountpoint, "program")])).code).toBe(code);
    expect((await at.cli("umount", at.mountpoint)).code).toBe(ExitCode.done);
  });

  test("is refused where it already runs, and the running mount is unharmed", async (context) => {
    need(context, "root", "/dev/fuse");
    const at = site();
    await at.cli("mount", at.backing, at.mountpoint, "--cache-size", "8M");
    const { pid } = readState(at.backing);
    const other = site();
    for (const where of [at.mountpoint, other.mountpoint]) {
      const second = await at.cli("mount", at.backing, where);
      expect(second.code).toBe(ExitCode.refused);
      expect(second.stderr).toMatch(/^hypegear: [^\n]*already mounted [^\n]*\n$/);
      expect(second.stderr).toContain(`(keeper pid ${pid})`);
    }
    expect((await stat(at.mountpoint)).isDirectory()).toBe(true);
    expect((await at.cli("umount", at.mountpoint)).code).toBe(ExitCode.done);
  });

  test("carries on with every answered write after keeper and engine were killed", async (context) => {
    need(context, "root", "/dev/fuse");
    const at = site(true);
    await at.cli("mount", at.backing, "--cache-size", "16M");
    const bytes = randomBytes(2 ** 20);
    await writeFile(join(at.mountpoint, "disk.raw"), bytes);
    for (const pid of at.daemons()) kill(pid);
    await waitFor("the daemons' end", () => at.daemons().length === 0);
    const again = await at.cli("mount", at.backing, "--cache-size", "32M");
    expect(again).toMatchObject({ code: ExitCode.done, stdout: `ready: ${at.backing}, over itself, cache 16M\n` });
    expect(again.stderr).toContain("carrying on with the slab of the mount before: nothing is lost");
    expect((await readFile(join(at.mountpoint, "disk.raw"))).equals(bytes)).toBe(true);
    expect((await at.cli("umount", at.mountpoint)).code).toBe(ExitCode.done);
    expect(readFileSync(join(at.backing, "disk.raw")).equals(bytes)).toBe(true);
  });

  test("--log-file gets JSON lines with process id and mountpoint, and belongs to the user alone", async (context) => {
    need(context, "root", "/dev/fuse");
    const at = site();
    const log = join(scratchDirectory("log"), "hypegear.log");
    await at.cli("mount", at.backing, at.mountpoint, "--cache-size", "8M", "--log-file", log);
    expect((await at.cli("umount", at.mountpoint)).code).toBe(ExitCode.done);
    const lines = readFileSync(log, "utf8").trim().split("\n");
    for (const line of lines)
      expect(JSON.parse(line)).toMatchObject({ pid: expect.any(Number) as number, mountpoint: at.mountpoint });
    expect(lines.at(-1)).toContain("everything is home; ended");
    expect(statSync(log).mode & 0o777).toBe(0o600);
  });
});

describe("mount that is interrupted before it serves", () => {
  /** What the start has done by then. */
  const steps = ["state.json", "journal"];

  test.for(steps.flatMap((step) => [false, true].map((foreground) => ({ step, foreground }))))(
    "when $step was made takes back what it made (in the foreground: $foreground)",
    async ({ step, foreground }, context) => {
      need(context, "root", "/dev/fuse");
      const at = site();
      const args = [
        "mount",
        at.backing,
        at.mountpoint,
        "--cache-size",
        "256M",
        ...(foreground ? ["--foreground"] : []),
      ];
      const env = { HYPEGEAR_TEST_SITE: at.value };
      const command = start(HYPEGEAR, args, { env });
      await waitFor(step, () => existsSync(join(at.backing, ".hypegear", step)));
      command.child.kill("SIGINT");
      const { code, stdout, stderr } = await command.outcome;
      expect({ code, stdout }).toEqual({ code: ExitCode.failed, stdout: "" });
      expect(stderr).toContain("before it served; it is not mounted\n");
      await waitFor("the daemon's end", () => at.daemons().length === 0);
      expect(leftovers(at)).toEqual([]);
    },
  );
});

describe("mount --foreground", () => {
  test.for(["SIGTERM", "SIGINT"] as const)(
    "ends on %s with exit code 0 and everything home",
    async (signal, context) => {
      need(context, "root", "/dev/fuse");
      const daemon = await mountHypegear();
      const bytes = randomBytes(2 ** 20);
      await writeFile(join(daemon.mountpoint, "disk.raw"), bytes);
      await daemon.kill("keeper", signal);
      const { code, stdout } = await daemon.ended;
      expect(code).toBe(ExitCode.done);
      expect(stdout).toMatch(/^ready: [^\n]+\n$/);
      expect(readFileSync(join(daemon.backing, "disk.raw")).equals(bytes)).toBe(true);
      expect(existsSync(join(daemon.backing, ".hypegear"))).toBe(false);
      expect(isHypegearMount(daemon.mountpoint)).toBe(false);
    },
  );
});

describe("top", () => {
  test("prints a line a second where there is no terminal", async (context) => {
    need(context, "root", "/dev/fuse", "timeout");
    const daemon = await mountHypegear();
    const { stdout } = await run("timeout", ["4", HYPEGEAR, "top", daemon.mountpoint]);
    expect(stdout).toMatch(/^(writes \d+\/s \S+  reads \d+\/s \S+  home \S+  dirty \S+ of \S+  cpu [\d.]+ %\n)+$/);
  });

  test("ends without a word when its reader does", async (context) => {
    need(context, "root", "/dev/fuse", "timeout");
    const daemon = await mountHypegear();
    const script = `{ timeout 20 "$1" top "$2"; echo "code $?" >&2; } | head -n 1`;
    const { stdout, stderr } = await run("sh", ["-c", script, "sh", HYPEGEAR, daemon.mountpoint]);
    expect(stdout).toMatch(/^writes [^\n]*\n$/);
    expect(stderr).toBe("code 0\n");
  });

  test("draws a picture on a terminal", async (context) => {
    need(context, "root", "/dev/fuse", "timeout", "script");
    const daemon = await mountHypegear();
    const { stdout } = await run("script", ["-qec", `timeout 4 ${HYPEGEAR} top ${daemon.mountpoint}`, "/dev/null"]);
    expect(stdout).toContain(`hypegear ${daemon.backing} at ${daemon.mountpoint}`);
    expect(stdout).toMatch(/absorbed .* blocks that need no device write/);
  });
});

describe("umount", () => {
  test("of a mount in use takes everything home all the same, and says who uses it", async (context) => {
    need(context, "root", "/dev/fuse");
    const daemon = await mountHypegear();
    const bytes = randomBytes(2 ** 20);
    await writeFile(join(daemon.mountpoint, "disk.raw"), bytes);
    const user = spawn("sleep", ["60"], { cwd: daemon.mountpoint });
    testScope(() => user.kill("SIGKILL"));
    const outcome = await hypegear(["umount", daemon.mountpoint]);
    expect(outcome.code).toBe(ExitCode.failed);
    expect(outcome.stderr).toContain(
      `still used by sleep (pid ${user.pid}); all data is home: end that and umount again\n`,
    );
    expect(readFileSync(join(daemon.backing, "disk.raw")).equals(bytes)).toBe(true);
    user.kill("SIGKILL");
    await waitFor("the user's end", () => !isAlive(user.pid!));
    expect((await daemon.umount()).code).toBe(ExitCode.done);
  });
});
