/** Bad input, for real through bin/hypegear: one line that says what, on what, why and what to do; the exit code; nothing left. */
import { chmodSync, chownSync, existsSync, mkdirSync, readdirSync, symlinkSync, writeFileSync } from "node:fs";
import { freemem } from "node:os";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { slabOf } from "../keeper/stubbed.ts";
import { HYPEGEAR, hypegear } from "../support/daemon.ts";
import { isHypegearMount } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { type Outcome, run } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";

const NOBODY = 65534;

/** Backing and mountpoint, with their parent open to all. */
function places(): { backing: string; mountpoint: string } {
  const root = scratchDirectory("refused");
  chmodSync(root, 0o755);
  const [backing, mountpoint] = [join(root, "images"), join(root, "mnt")];
  mkdirSync(backing);
  mkdirSync(mountpoint);
  return { backing, mountpoint };
}

/** The one line of a refusal; checks code, line count, and that nothing is left behind. */
function refusal(outcome: Outcome, code: ExitCode, at?: { backing: string; mountpoint: string }): string {
  expect(outcome.stderr).toMatch(/^hypegear: [^\n]+\n$/);
  expect({ code: outcome.code, stdout: outcome.stdout }).toEqual({ code, stdout: "" });
  if (at !== undefined) expectNothingLeft(at);
  return outcome.stderr.trimEnd().slice("hypegear: ".length);
}

function expectNothingLeft({ backing, mountpoint }: { backing: string; mountpoint: string }): void {
  expect(isHypegearMount(mountpoint)).toBe(false);
  if (!existsSync(backing)) return;
  expect(existsSync(join(backing, ".hypegear"))).toBe(false);
  expect(existsSync(dirname(slabOf(backing)))).toBe(false);
}

describe("usage errors", () => {
  const sizes = [
    ["-1", "not a size"],
    ["12Q", "not a size"],
    ["0", "too small"],
    ["1", "too small"],
    ["99999T", "too large"],
  ] as const;

  test.for(sizes)("--cache-size %s is %s, and the bounds are told", async ([size, why]) => {
    const at = places();
    const line = refusal(
      await hypegear(["mount", at.backing, at.mountpoint, "--cache-size", size]),
      ExitCode.usage,
      at,
    );
    expect(line).toBe(`--cache-size "${size}": ${why}; give 8M to 64G`);
    const asOption = await hypegear(["mount", at.backing, at.mountpoint, "-o", `cache-size=${size}`]);
    expect(refusal(asOption, ExitCode.usage, at)).toBe(line);
  });

  const wrong: [string[], string][] = [
    [["--durability", "none"], '--durability "none": no such choice; give one of sync, ordered, volatile'],
    [["--cache", "maybe"], '--cache "maybe": no such choice; give one of on, off'],
    [["--device", "tape"], '--device "tape": no such choice; give one of auto, hdd, ssd'],
    [["--transport", "uring"], '--transport "uring": no such choice; give one of auto, dev'],
    [["--io", "aio"], '--io "aio": no such choice; give one of auto, uring, threads'],
    [["--dirty-limit", "100%"], '--dirty-limit "100%": too large; give 5% to 95%'],
    [["--rate-limit", "1"], '--rate-limit "1": too small; give 64K to 1T, or 0 (no limit)'],
    [["--max-age", "soon"], '--max-age "soon": not a duration; give 1s to 7d, or 0 (no limit)'],
    [["--log-level", "loud"], '--log-level "loud": no such choice; give one of fatal, error, warn, info, debug, trace'],
    [["-o", "cache-sise=1G"], "-o cache-sise: no such option; see hypegear mount --help"],
    [["-o", "ro"], "-o ro: read-only mounts are not supported; see hypegear mount --help"],
    [["-o", "cache-size"], "-o cache-size: needs a value; give cache-size=SIZE"],
    [["-o", "allow_other=1"], "-o allow_other: takes no value; give allow_other alone"],
    [["--cach-size", "1G"], "unknown option '--cach-size' (Did you mean --cache-size?); see hypegear --help"],
  ];

  test.for(wrong)("mount %j", async ([args, message]) => {
    const at = places();
    expect(refusal(await hypegear(["mount", at.backing, at.mountpoint, ...args]), ExitCode.usage, at)).toBe(message);
  });

  test("a missing argument and an unknown command are usage errors too", async () => {
    expect(refusal(await hypegear(["mount"]), ExitCode.usage)).toContain("missing required argument 'BACKING'");
    expect(refusal(await hypegear(["remount"]), ExitCode.usage)).toContain("unknown command 'remount'");
    expect(refusal(await hypegear(["set", "/tmp", "colour=red"]), ExitCode.usage)).toContain(
      "no such setting; the settings are durability",
    );
    expect(refusal(await hypegear(["set", "/tmp", "device=tape"]), ExitCode.usage)).toContain(
      "give one of auto, hdd, ssd",
    );
  });

  test("help names every option with its default and bounds, and ends with 0", async () => {
    const { code, stdout } = await hypegear(["mount", "--help"]);
    expect(code).toBe(ExitCode.done);
    expect(stdout).toMatch(/--cache-size <SIZE>\s+memory of the cache, 8M to 64G/);
    expect(stdout.replaceAll(/\s+/g, " ")).toContain("(default: 1G)");
  });
});

describe("directories", () => {
  test("BACKING that does not exist", async () => {
    const at = places();
    const missing = join(at.backing, "none");
    const outcome = await hypegear(["mount", missing, at.mountpoint]);
    expect(refusal(outcome, ExitCode.failed, at)).toBe(
      `${missing}: does not exist; give an existing directory as BACKING`,
    );
  });

  test("BACKING that is a file", async () => {
    const at = places();
    const file = join(at.backing, "disk.raw");
    writeFileSync(file, "data");
    const outcome = await hypegear(["mount", file, at.mountpoint]);
    expect(refusal(outcome, ExitCode.failed, at)).toBe(`${file}: not a directory; BACKING must be one`);
  });

  test("MOUNTPOINT that does not exist, or is a file", async () => {
    const at = places();
    const missing = await hypegear(["mount", at.backing, `${at.mountpoint}/none`]);
    expect(refusal(missing, ExitCode.failed, at)).toContain("does not exist; give an existing directory as MOUNTPOINT");
    writeFileSync(`${at.mountpoint}/file`, "");
    const file = await hypegear(["mount", at.backing, `${at.mountpoint}/file`]);
    expect(refusal(file, ExitCode.failed, at)).toContain("not a directory; MOUNTPOINT must be one");
  });

  test("MOUNTPOINT inside BACKING, and BACKING inside MOUNTPOINT, also through a symbolic link", async () => {
    const { backing } = places();
    const inner = join(backing, "inner");
    const link = join(scratchDirectory(), "link");
    mkdirSync(inner);
    symlinkSync(inner, link);
    for (const path of [inner, link]) {
      const outcome = await hypegear(["mount", backing, path]);
      expect(refusal(outcome, ExitCode.refused, { backing, mountpoint: inner })).toContain(
        `${inner}: lies inside BACKING ${backing}`,
      );
    }
    const outside = await hypegear(["mount", inner, backing]);
    expect(refusal(outside, ExitCode.refused, { backing: inner, mountpoint: backing })).toContain(
      `${backing}: contains BACKING ${inner}`,
    );
  });

  test("a log file inside the mount or the backing directory", async () => {
    const at = places();
    for (const directory of [at.mountpoint, at.backing]) {
      const outcome = await hypegear(["mount", at.backing, at.mountpoint, "--log-file", `${directory}/hypegear.log`]);
      expect(refusal(outcome, ExitCode.refused, at)).toContain(`the log file would lie inside ${directory}`);
    }
    expect(readdirSync(at.mountpoint)).toEqual([]);
  });

  test("a log file that cannot be made", async () => {
    const at = places();
    const outcome = await hypegear(["mount", at.backing, at.mountpoint, "--log-file", "/proc/none/hypegear.log"]);
    expect(refusal(outcome, ExitCode.failed, at)).toContain(
      "log file /proc/none/hypegear.log: cannot be opened (ENOENT)",
    );
  });

  test("a slab inside the mount", async (context) => {
    need(context, "root", "unshare");
    const at = places();
    const outcome = await inNamespace("", ["mount", at.backing, "/dev/shm"]);
    expect(refusal(outcome, ExitCode.refused, at)).toContain("the slab would lie inside /dev/shm");
  });

  test("BACKING that this user may not read, or not write, is exit code 4", async (context) => {
    need(context, "root", "setpriv");
    const at = places();
    chmodSync(at.backing, 0o700);
    const unreadable = await asNobody(["mount", at.backing, at.mountpoint]);
    expect(refusal(unreadable, ExitCode.forbidden, at)).toContain(
      `${at.backing}: may not be used as BACKING: permission denied (EACCES)`,
    );
    chmodSync(at.backing, 0o755);
    const unwritable = await asNobody(["mount", at.backing, at.mountpoint]);
    expect(refusal(unwritable, ExitCode.forbidden, at)).toContain(
      `${at.backing}/.hypegear: cannot be used (EACCES): permission denied`,
    );
  });
});

describe("the FUSE device", () => {
  test("missing: says how to get it", async (context) => {
    need(context, "root", "unshare");
    const at = places();
    const outcome = await inNamespace("mount -t tmpfs none /dev; mkdir /dev/shm; mknod /dev/null c 1 3", [
      "mount",
      at.backing,
      at.mountpoint,
    ]);
    expect(refusal(outcome, ExitCode.failed, at)).toBe(
      "/dev/fuse: is missing (ENOENT); load FUSE with: modprobe fuse (in a container, start it with --device /dev/fuse)",
    );
  });

  test("missing, as an ordinary user", async (context) => {
    need(context, "root", "unshare", "setpriv");
    const at = places();
    chownSync(at.backing, NOBODY, NOBODY);
    const prepare = "mount -t tmpfs none /dev; mkdir -m 1777 /dev/shm; mknod -m 666 /dev/null c 1 3";
    const outcome = await inNamespace(prepare, ["mount", at.backing, at.mountpoint], AS_NOBODY);
    expect(refusal(outcome, ExitCode.failed, at)).toContain("/dev/fuse: is missing (ENOENT)");
  });

  test("forbidden: exit code 4", async (context) => {
    need(context, "root", "unshare");
    const at = places();
    const prepare = "mount -t tmpfs -o nodev none /dev; mkdir /dev/shm; : >/dev/null; mknod /dev/fuse c 10 229";
    const outcome = await inNamespace(prepare, ["mount", at.backing, at.mountpoint]);
    expect(refusal(outcome, ExitCode.forbidden, at)).toContain(
      "/dev/fuse: may not be opened (EACCES); run as root, or let users open it",
    );
  });

  test("another device in its place", async (context) => {
    need(context, "root", "unshare", "/dev/fuse");
    const at = places();
    const outcome = await inNamespace("mount --bind /dev/null /dev/fuse", ["mount", at.backing, at.mountpoint]);
    expect(refusal(outcome, ExitCode.failed, at)).toBe(
      "/dev/fuse: is not the FUSE device; make it with: mknod /dev/fuse c 10 229",
    );
  });

  test("forbidden to an ordinary user: exit code 4", async (context) => {
    need(context, "root", "unshare", "setpriv", "fusermount3");
    const at = places();
    chownSync(at.backing, NOBODY, NOBODY);
    const outcome = await inNamespace(
      deviceOfMode("600"),
      ["mount", at.backing, at.mountpoint, "--cache-size", "8M"],
      AS_NOBODY,
    );
    expect(refusal(outcome, ExitCode.forbidden, at)).toContain("/dev/fuse: may not be opened (EACCES); run as root");
  });

  test("a mountpoint of another user's is refused to an ordinary user with exit code 4", async (context) => {
    need(context, "root", "unshare", "setpriv", "fusermount3");
    const at = places();
    chownSync(at.backing, NOBODY, NOBODY);
    const outcome = await inNamespace(
      deviceOfMode("666"),
      ["mount", at.backing, at.mountpoint, "--cache-size", "8M"],
      AS_NOBODY,
    );
    expect(refusal(outcome, ExitCode.forbidden, at)).toMatch(
      /mount \S+: fusermount3 refused: user has no write access to mountpoint/,
    );
  });

  test("--allow-other that fuse.conf does not allow an ordinary user is exit code 4", async (context) => {
    need(context, "root", "unshare", "setpriv", "fusermount3");
    const at = places();
    for (const path of [at.backing, at.mountpoint]) chownSync(path, NOBODY, NOBODY);
    const prepare = `${deviceOfMode("666")}; mount --bind /dev/null /etc/fuse.conf`;
    const outcome = await inNamespace(
      prepare,
      ["mount", at.backing, at.mountpoint, "--cache-size", "8M", "--allow-other"],
      AS_NOBODY,
    );
    expect(refusal(outcome, ExitCode.forbidden, at)).toContain(
      "option allow_other only allowed if 'user_allow_other' is set",
    );
  });
});

describe("memory", () => {
  test("/dev/shm too small for the cache", async (context) => {
    need(context, "root", "unshare");
    const at = places();
    const outcome = await inNamespace("mount -t tmpfs -o size=16m none /dev/shm", [
      "mount",
      at.backing,
      at.mountpoint,
      "--cache-size",
      "64M",
    ]);
    expect(refusal(outcome, ExitCode.failed, at)).toMatch(
      /^\/dev\/shm: 16M free, a cache of 64M needs [\d.]+M; give a smaller --cache-size, or enlarge it/,
    );
  });

  test("/dev/shm missing", async (context) => {
    need(context, "root", "unshare");
    const at = places();
    const outcome = await inNamespace("mount -t tmpfs none /dev; mknod /dev/null c 1 3", [
      "mount",
      at.backing,
      at.mountpoint,
    ]);
    expect(refusal(outcome, ExitCode.failed, at)).toBe("/dev/shm: cannot be used; mount a tmpfs there");
  });

  test("less memory available than the cache needs", async (context) => {
    need(context, "root", "unshare");
    context.skip(freemem() > 64 * 2 ** 30, "this host has memory for the largest cache");
    const at = places();
    const outcome = await inNamespace("mount -t tmpfs -o size=100g none /dev/shm", [
      "mount",
      at.backing,
      at.mountpoint,
      "--cache-size",
      "64G",
    ]);
    expect(refusal(outcome, ExitCode.failed, at)).toMatch(
      /^memory: [\d.]+G available, a cache of 64G needs [\d.]+G; give a smaller --cache-size$/,
    );
  });
});

describe("commands on something that is no mount", () => {
  test.for(["umount", "flush", "stats", "top"])("%s says so", async (name) => {
    const { mountpoint } = places();
    const line = refusal(await hypegear([name, mountpoint]), ExitCode.failed);
    expect(line).toBe(
      `${mountpoint}: not a hypegear mount; give the directory that hypegear mount was given as MOUNTPOINT`,
    );
  });

  test("set says so, after its values were checked", async () => {
    const { mountpoint } = places();
    expect(refusal(await hypegear(["set", mountpoint, "rate-limit=10M"]), ExitCode.failed)).toContain(
      "not a hypegear mount",
    );
  });
});

/** Shell commands that put a FUSE device of this mode in the place of the host's. */
const deviceOfMode = (mode: string): string =>
  `mount -t tmpfs none /mnt; mknod /mnt/fuse c 10 229; chmod ${mode} /mnt/fuse; mount --bind /mnt/fuse /dev/fuse`;

const AS_NOBODY = `setpriv --reuid=${NOBODY} --regid=${NOBODY} --clear-groups`;

const asNobody = (args: string[]): Promise<Outcome> =>
  run("setpriv", [...AS_NOBODY.split(" ").slice(1), HYPEGEAR, ...args]);

/** Runs hypegear in a mount namespace of its own, after the shell commands `prepare`. */
const inNamespace = (prepare: string, args: string[], as = ""): Promise<Outcome> =>
  run("unshare", ["--mount", "sh", "-ec", `${prepare}\nexec ${as} "$@"`, "sh", HYPEGEAR, ...args]);
