/** Who may look in: nobody but the owner, unless it was asked for. */
import { chmodSync, chownSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { HYPEGEAR, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { type Outcome, run, succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";

const modeOf = (path: string): string => (statSync(path).mode & 0o7777).toString(8);

/** Runs a shell script as an ordinary user. */
const asNobody = (script: string): Promise<Outcome> =>
  run("setpriv", ["--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script]);

test("another user is kept out of mount, slab and state", async (context) => {
  need(context, "root", "/dev/fuse", "setpriv");
  const daemon = await mountHypegear();
  writeFileSync(join(daemon.mountpoint, "image"), "secret");
  for (const path of [daemon.backing, daemon.mountpoint]) chmodSync(path, 0o755);
  const state = join(daemon.backing, ".hypegear");

  for (const path of [daemon.mountpoint, `${daemon.mountpoint}/image`, `${daemon.mountpoint}/.hypegear/stats`]) {
    expect(await asNobody(`cat ${path}; ls ${path}`), path).toMatchObject({
      stdout: "",
      stderr: expect.stringMatching(/Permission denied/) as string,
    });
  }
  expect((await asNobody(`ls ${state} || ls ${daemon.slab!}`)).code).not.toBe(0);
  expect(modeOf(state)).toBe("700");
  expect(modeOf(join(state, "state.json"))).toBe("600");
  expect(modeOf(join(state, "lock"))).toBe("600");
  expect(modeOf(daemon.slab!)).toBe("700");
  expect(modeOf(join(daemon.slab!, "slab"))).toBe("600");
  expect(await run("ls", ["-A", daemon.mountpoint])).toMatchObject({ stdout: "image\n" });
});

test("with --allow-other, permissions hold: what is not theirs is refused, what is theirs is made as theirs", async (context) => {
  need(context, "root", "/dev/fuse", "setpriv");
  const daemon = await mountHypegear({ args: ["--allow-other"] });
  const at = (name: string): string => join(daemon.mountpoint, name);
  for (const path of [daemon.backing, daemon.mountpoint]) chmodSync(path, 0o777);
  writeFileSync(at("private"), "secret", { mode: 0o600 });

  expect((await asNobody(`cat ${at("private")}`)).stderr).toMatch(/Permission denied/);
  expect((await asNobody(`echo drain > ${at(".hypegear/control")}`)).stderr).toMatch(/Permission denied/);
  expect(await asNobody(`umask 027; echo mine > ${at("theirs")}; cat ${at("theirs")}`)).toMatchObject({
    stdout: "mine\n",
  });

  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(statSync(join(daemon.backing, "theirs"))).toMatchObject({ uid: 65534, gid: 65534, size: 5 });
  expect(modeOf(join(daemon.backing, "theirs"))).toBe("640");
});

/** Of `path`: allocates beyond its end, punches its beginning, or copies `source` over it. */
const PYTHON_RESHAPE = `
import ctypes, os, sys
what, path, source = sys.argv[1:]
fd = os.open(path, os.O_RDWR)
fallocate = ctypes.CDLL(None, use_errno=True).fallocate
fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
if what == "allocated": sys.exit(fallocate(fd, 0, 0, 65536))
if what == "punched": sys.exit(fallocate(fd, 3, 0, 4096))
os.copy_file_range(os.open(source, os.O_RDONLY), fd, 4)
`;
const CHANGES = ["written", "cut", "extended", "allocated", "punched", "copied"];

test("a change of content by somebody else takes set-user-id and set-group-id away, at home too", async (context) => {
  need(context, "root", "/dev/fuse", "setpriv", "python3");
  const daemon = await mountHypegear({ args: ["--allow-other"] });
  const at = (name: string): string => join(daemon.mountpoint, name);
  for (const path of [daemon.backing, daemon.mountpoint]) chmodSync(path, 0o777);
  writeFileSync(at("source"), "code", { mode: 0o644 });
  for (const name of CHANGES) {
    writeFileSync(at(name), "program");
    chmodSync(at(name), 0o6777);
    expect(modeOf(at(name))).toBe("6777");
  }
  const reshape = (name: string): string => `python3 -c '${PYTHON_RESHAPE}' ${name} ${at(name)} ${at("source")}`;

  const script = `printf x | dd of=${at("written")} conv=notrunc; truncate -s 3 ${at("cut")}; printf more >> ${at("extended")}
    ${reshape("allocated")}; ${reshape("punched")}; ${reshape("copied")}`;
  expect(await asNobody(`set -e; ${script}`)).toMatchObject({ code: 0 });

  for (const name of CHANGES) expect(modeOf(at(name)), name).toBe("777");
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  for (const name of CHANGES) expect(modeOf(join(daemon.backing, name)), name).toBe("777");
});

test("root's changes of content leave set-user-id and set-group-id alone", async (context) => {
  need(context, "root", "/dev/fuse", "python3");
  const daemon = await mountHypegear();
  const at = (name: string): string => join(daemon.mountpoint, name);
  writeFileSync(at("source"), "code");
  for (const name of ["allocated", "punched", "copied"]) {
    writeFileSync(at(name), "program");
    chmodSync(at(name), 0o6777);
    expect(await run("python3", ["-c", PYTHON_RESHAPE, name, at(name), at("source")])).toMatchObject({ code: 0 });
    expect(modeOf(at(name)), name).toBe("6777");
  }
});

const PROGRAM = "cp /bin/true";
test.for(["flushed", "after a kill of the engine", "unmounted"])(
  "capabilities that are given to a program that was just written are still there when it is home, %s",
  async (how, context) => {
    need(context, "root", "/dev/fuse", "setcap", "getcap");
    const daemon = await mountHypegear();
    const options = { cwd: daemon.mountpoint };
    await succeed("sh", ["-ec", `${PROGRAM} program; setcap cap_net_raw+ep program`], options);
    if (how === "flushed") expect(await daemon.cli("flush", "program")).toMatchObject({ code: 0 });
    if (how.includes("kill")) await daemon.kill("engine");
    expect(await run("getcap", ["program"], options)).toMatchObject({ stdout: "program cap_net_raw=ep\n" });
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(await run("getcap", ["program"], { cwd: daemon.backing })).toMatchObject({
      stdout: "program cap_net_raw=ep\n",
    });
  },
);

test.for(["root", "another user"])("a write by %s takes capabilities away at once", async (who, context) => {
  need(context, "root", "/dev/fuse", "setcap", "getcap", "setpriv");
  const daemon = await mountHypegear({ args: ["--allow-other"] });
  const options = { cwd: daemon.mountpoint };
  for (const path of [daemon.backing, daemon.mountpoint]) chmodSync(path, 0o777);
  const write = `printf x >> ${join(daemon.mountpoint, "program")}`;
  for (const round of ["first", "given again"]) {
    await succeed("sh", ["-ec", `${PROGRAM} program; chmod 777 program; setcap cap_net_raw+ep program`], options);
    expect(await (who === "root" ? run("sh", ["-c", write]) : asNobody(write)), round).toMatchObject({ code: 0 });
    expect(await run("getcap", ["program"], options), round).toMatchObject({ code: 0, stdout: "" });
  }
});

/** In a mount namespace of its own, where everybody may use FUSE: mounts as an ordinary user, and has `$1` be what the user does there. */
const AS_USER = `
mount -t tmpfs none /mnt; mknod -m 666 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse
exec setpriv --reuid=65534 --regid=65534 --clear-groups sh -ec '
  "$HYPEGEAR" mount --cache-size 16M --journal-size 16M "$BACKING" "$MOUNTPOINT" > /dev/null
  finish() { cd /; "$HYPEGEAR" umount "$MOUNTPOINT"; }
  trap finish EXIT
  cd "$MOUNTPOINT"
  eval "$1"
' sh "$1"`;

test("set-user-id and set-group-id that a user gives to a program just written are still there when it is home", async (context) => {
  need(context, "root", "/dev/fuse", "unshare", "setpriv", "fusermount3");
  const [backing, mountpoint] = [scratchDirectory("backing"), scratchDirectory("mount")];
  for (const path of [backing, mountpoint]) chownSync(path, 65534, 65534);
  const script = `${PROGRAM} program; chmod 6755 program; "$HYPEGEAR" flush .; stat -c %a program`;
  const env = { HYPEGEAR, BACKING: backing, MOUNTPOINT: mountpoint };
  const outcome = await run("unshare", ["--mount", "sh", "-ec", AS_USER, "sh", script], { env });
  expect(outcome).toMatchObject({ code: 0, stdout: expect.stringMatching(/^6755$/m) as string });
  expect(modeOf(join(backing, "program"))).toBe("6755");
});
