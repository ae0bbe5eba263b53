/** What the command line says of journals: bad input, places that cannot be used, and `recover` and `check` where there is nothing to do. */
import { chmodSync, chownSync, cpSync, existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import type { Failed } from "../../src/keeper/config.ts";
import {
  cutPower,
  killBoth,
  type Places,
  places,
  readState,
  slabOf,
  startKeeper,
  writeState,
} from "../keeper/stubbed.ts";
import { HYPEGEAR, hypegear, mountHypegear } from "../support/daemon.ts";
import { loopFilesystem } from "../support/loop.ts";
import { need } from "../support/need.ts";
import { type Outcome, run, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";

/** The one line of a refusal. */
function refusal(outcome: Outcome, code: ExitCode): string {
  expect(outcome.stderr).toMatch(/^hypegear: [^\n]+\n$/);
  expect({ code: outcome.code, stdout: outcome.stdout }).toEqual({ code, stdout: "" });
  return outcome.stderr.trimEnd().slice("hypegear: ".length);
}

describe("options", () => {
  const wrong: [string[], string][] = [
    [["--journal-size", "1M"], '--journal-size "1M": too small; give 16M to 64G'],
    [["--journal-size", "65G"], '--journal-size "65G": too large; give 16M to 64G'],
    [["--journal", ""], '--journal "": empty; give a path'],
    [["--loss-window", "0"], '--loss-window "0": too small; give 100ms to 5m'],
    [["--loss-window", "6m"], '--loss-window "6m": too large; give 100ms to 5m'],
    [["--durability", "strict"], '--durability "strict": no such choice; give one of sync, ordered, volatile'],
    [["--durability", "ordered", "--cache", "off"], "--durability ordered: takes the cache; leave --cache off out"],
    [["-o", "journal_size=1"], '--journal-size "1": too small; give 16M to 64G'],
  ];

  test.for(wrong)("%s is refused: %s", async ([args, message]) => {
    const { backing, mountpoint } = places();
    expect(refusal(await hypegear(["mount", backing, mountpoint, ...args]), ExitCode.usage)).toBe(message);
    expect(existsSync(join(backing, ".hypegear"))).toBe(false);
  });

  test("set checks the window before it is sent", async () => {
    expect(refusal(await hypegear(["set", places().mountpoint, "loss-window=1h"]), ExitCode.usage)).toBe(
      'loss-window "1h": too large; give 100ms to 5m',
    );
  });
});

describe("a journal's place", () => {
  test("inside the mount or the backing directory is refused, but for its own place there", async (context) => {
    need(context, "root", "/dev/fuse");
    const { backing, mountpoint } = places();
    for (const directory of [mountpoint, backing]) {
      const outcome = await hypegear(["mount", backing, mountpoint, "--journal", join(directory, "log")]);
      expect(refusal(outcome, ExitCode.refused)).toBe(
        `${join(directory, "log")}: the journal would lie inside ${directory}, and so wait for itself; give a --journal elsewhere`,
      );
    }
    const own = join(backing, ".hypegear/journal");
    const daemon = await mountHypegear({ backing, mountpoint, args: ["--journal", own, "--journal-size", "16M"] });
    expect(readState(backing).journal).toMatchObject({ path: "" });
    expect(await daemon.umount()).toMatchObject({ code: ExitCode.done });
  });

  test("that does not exist, is read-only, or is not this user's", async (context) => {
    need(context, "root", "setpriv", "losetup", "mkfs.ext4");
    const { backing, mountpoint } = places();
    const mount = (journal: string): string[] => ["mount", backing, mountpoint, "--journal", journal];
    expect(refusal(await hypegear(mount("/nowhere/log")), ExitCode.failed)).toBe(
      "/nowhere/log: the journal cannot be opened (ENOENT); give a --journal in a directory that exists and is writable",
    );
    const { directory } = await loopFilesystem("ext4", 64);
    await succeed("mount", ["-o", "remount,ro", directory]);
    expect(refusal(await hypegear(mount(join(directory, "log"))), ExitCode.failed)).toContain(
      "(EROFS): the filesystem is read-only; remount it writable, or give another --journal",
    );
    const secret = scratchDirectory("secret");
    chmodSync(secret, 0o700);
    writeFileSync(join(secret, "log"), "");
    chownSync(backing, 65_534, 65_534);
    const user = ["--reuid=65534", "--regid=65534", "--clear-groups", HYPEGEAR];
    expect(refusal(await run("setpriv", [...user, ...mount(join(secret, "log"))]), ExitCode.forbidden)).toContain(
      "(EACCES): permission denied; run as root, or give another --journal",
    );
    expect(existsSync(join(backing, ".hypegear"))).toBe(false);
  });

  test("with less room than was asked for", async (context) => {
    need(context, "root", "losetup", "mkfs.ext4");
    const { backing, mountpoint } = places();
    const { directory } = await loopFilesystem("ext4", 32);
    const journal = join(directory, "log");
    const outcome = await hypegear(["mount", backing, mountpoint, "--journal", journal, "--journal-size", "64M"]);
    expect(refusal(outcome, ExitCode.failed)).toBe(
      `${journal}: a journal of 64M cannot be made (ENOSPC); free some, or give a smaller --journal-size, or another --journal`,
    );
    expect(existsSync(journal)).toBe(false);
  });
});

describe("recover and check", () => {
  test("of a directory that no mount ever had find nothing, and make nothing", async () => {
    const { backing } = places();
    expect(await hypegear(["recover", backing])).toEqual({
      code: ExitCode.done,
      stdout: `${backing}: nothing to bring home\n`,
      stderr: "",
    });
    const { code, stdout } = await hypegear(["check", backing]);
    expect({ code, lines: stdout.split("\n") }).toEqual({
      code: ExitCode.done,
      lines: [
        backing,
        "  state    none: no mount, or one that ended well",
        "  slab     none",
        "  journal  none",
        "  verdict  clean: all is home",
        "",
      ],
    });
    expect(existsSync(join(backing, ".hypegear"))).toBe(false);
  });

  test("of what is no directory say so", async () => {
    const missing = join(scratchDirectory(), "none");
    for (const command of ["recover", "check"])
      expect(refusal(await hypegear([command, missing]), ExitCode.failed)).toBe(
        `${missing}: does not exist; give an existing directory as BACKING`,
      );
  });

  test("while it is mounted: recover refuses, check says so", async (context) => {
    need(context, "root");
    const at = places();
    const { keeper } = await startKeeper(at, "serve");
    expect(refusal(await hypegear(["recover", at.backing]), ExitCode.refused)).toBe(
      `${at.backing}: mounted at ${at.mountpoint} (keeper pid ${keeper.pid}); what is mounted needs no recovery, unmount it first`,
    );
    const { code, stdout } = await hypegear(["check", at.backing]);
    expect(code).toBe(ExitCode.done);
    expect(stdout).toContain("verdict  in use: a daemon has it; see hypegear stats");
    const over = places(true);
    await startKeeper(over, "serve");
    for (const command of ["recover", "check"])
      expect(refusal(await hypegear([command, over.backing]), ExitCode.refused)).toContain(
        "already mounted by hypegear",
      );
  });

  test("after a kill: recover refuses, also with --force, and check tells of the slab", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    for (const args of [[], ["--force"]])
      expect(refusal(await hypegear(["recover", at.backing, ...args]), ExitCode.refused)).toContain(
        `is there, and has what the journal does not; mount it, which carries on with both: hypegear mount ${at.backing}`,
      );
    const { code, stdout } = await hypegear(["check", at.backing]);
    expect(code).toBe(ExitCode.done);
    expect(stdout).toContain(`killed, nothing is lost: hypegear mount ${at.backing} carries on with the slab`);
  });

  /** What a mount, recover and check say of `at`, which each refuses; it is the same. */
  async function refusedByAll(at: Places): Promise<string> {
    const { report } = await startKeeper(at, "serve");
    expect(report).toMatchObject({ type: "failed", exitCode: ExitCode.refused });
    const { message } = report as Failed;
    const state = readState(at.backing);
    expect(refusal(await hypegear(["recover", at.backing]), ExitCode.refused)).toBe(message);
    const checked = await hypegear(["check", at.backing]);
    expect(checked).toMatchObject({ code: ExitCode.refused, stderr: "" });
    expect(checked.stdout).toContain(`verdict  refused: ${message}\n`);
    expect(readState(at.backing)).toEqual(state);
    return message;
  }

  test("in the boot of a mount whose slab is gone: refused as by mount; forced, the journal comes home", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    rmSync(slabOf(at.backing));
    const why = `its slab ${slabOf(at.backing)} is missing, and with it writes that were not yet home`;
    expect(await refusedByAll(at)).toBe(`${at.backing}: ${why}; bring it back, or accept the loss with --force`);
    const forced = await hypegear(["recover", "--force", at.backing]);
    expect(forced).toMatchObject({ code: ExitCode.done, stdout: expect.stringContaining("recovered") as string });
    expect(forced.stderr).toContain("writes that were not yet home are lost");
    expect(existsSync(join(at.backing, ".hypegear"))).toBe(false);
  });

  test("beside a slab that is another's: refused as by mount, also with --force", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve"), at);
    writeState(at.backing, { identity: "another" });
    expect(await refusedByAll(at)).toContain("a slab of another directory is in the way");
    expect((await hypegear(["recover", "--force", at.backing])).code).toBe(ExitCode.refused);
    expect(existsSync(slabOf(at.backing))).toBe(true);
  });

  test("of a copy, while the slab is there: refused as by mount; forced, the original's journal is left alone", async (context) => {
    need(context, "root");
    const journal = join(scratchDirectory("journal"), "log");
    const [at, copy] = [places(), places()];
    await killBoth(await startKeeper(at, "serve", { journal }), at);
    cpSync(at.backing, copy.backing, { recursive: true });
    const message = await refusedByAll(copy);
    expect(message).toContain(`was moved or copied while it was mounted at ${at.mountpoint}`);
    expect(message).toContain(`the slab ${slabOf(at.backing)} still has writes that are not home; mount the original`);
    const forced = await hypegear(["recover", "--force", copy.backing]);
    expect(forced).toMatchObject({ code: ExitCode.done, stdout: `${copy.backing}: nothing to bring home\n` });
    expect(forced.stderr).toContain(`left it the journal ${journal}`);
    expect(existsSync(join(copy.backing, ".hypegear"))).toBe(false);
    const next = await startKeeper(at, "serve", { journal });
    expect(JSON.stringify(next.report)).toContain("carrying on with the slab of the mount before");
  });

  test("of a filesystem mounted anew with another device number: nobody is told to give up what the slab has", async (context) => {
    need(context, "root", "losetup", "mkfs.ext4");
    const { directory, device, file } = await loopFilesystem("ext4", 64);
    const backing = join(directory, "images");
    mkdirSync(backing);
    const at = { ...places(), backing };
    const slab = slabOf(backing);
    testScope(() => removeSlab(dirname(slab)));
    await killBoth(await startKeeper(at, "serve"), at);
    await succeed("umount", [directory]);
    const other = (await succeed("losetup", ["--find", "--show", file])).trim(); // the first keeps its number, or others could take it
    testScope(() => succeed("losetup", ["--detach", other]));
    expect(other).not.toBe(device);
    await succeed("mount", [other, directory]);
    testScope(() => succeed("umount", [directory]));
    const message = await refusedByAll(at);
    expect(message).toContain(`its device has another number than while it was mounted at ${at.mountpoint}`);
    expect(message).toContain(`the slab ${slab} still has writes that are not home; mount its filesystem with the`);
    expect(message).not.toContain("--force");
  });

  test("after a power cut, the journal gone: both refuse and say what is lost; forced, it is accepted", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve", { journalBytes: undefined, journal: "" }, [], { cache: true }), at);
    await cutPower(at);
    writeState(at.backing, { journal: { path: "/nowhere/log", id: "0".repeat(32) } });
    expect(refusal(await hypegear(["recover", at.backing]), ExitCode.refused)).toBe(
      `${at.backing}: its journal /nowhere/log is missing, and with it what was flushed and not yet home; bring it back as it was, or accept the loss with --force`,
    );
    const checked = await hypegear(["check", at.backing]);
    expect(checked).toMatchObject({ code: ExitCode.refused });
    expect(checked.stdout).toContain("verdict  refused: /nowhere/log is missing");
    const forced = await hypegear(["recover", "--force", at.backing]);
    expect(forced).toMatchObject({ code: ExitCode.done, stdout: `${at.backing}: nothing to bring home\n` });
    expect(forced.stderr).toBe(
      `hypegear: ${at.backing}: /nowhere/log is missing: what was flushed and not yet home is lost (--force)\n`,
    );
  });

  test("after a power cut without a journal there is nothing to do but clear away", async (context) => {
    need(context, "root");
    const at = places();
    await killBoth(await startKeeper(at, "serve", {}, [], { cache: false }), at);
    await cutPower(at);
    mkdirSync(join(at.backing, ".hypegear/held"), { recursive: true });
    writeFileSync(join(at.backing, ".hypegear/held/3"), "unlinked in use");
    expect((await hypegear(["check", at.backing])).stdout).toContain("verdict  recoverable: what was flushed is home");
    const recovered = await hypegear(["recover", at.backing]);
    expect(recovered).toMatchObject({ code: ExitCode.done, stdout: `${at.backing}: nothing to bring home\n` });
    expect(recovered.stderr).toContain("the mount that was cut off had no journal: what was flushed is home");
    expect(existsSync(join(at.backing, ".hypegear"))).toBe(false);
  });
});
