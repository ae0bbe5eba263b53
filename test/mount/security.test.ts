/** Who may look in: nobody but the owner, unless it was asked for. */
import { chmodSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { type Outcome, run } from "../support/run.ts";

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

test("a write by somebody else takes set-user-id and set-group-id away, at home too", async (context) => {
  need(context, "root", "/dev/fuse", "setpriv");
  const daemon = await mountHypegear({ args: ["--allow-other"] });
  const at = (name: string): string => join(daemon.mountpoint, name);
  for (const path of [daemon.backing, daemon.mountpoint]) chmodSync(path, 0o777);
  for (const name of ["written", "cut", "extended"]) {
    writeFileSync(at(name), "program");
    chmodSync(at(name), 0o6777);
    expect(modeOf(at(name))).toBe("6777");
  }

  const script = `printf x | dd of=${at("written")} conv=notrunc; truncate -s 3 ${at("cut")}; printf more >> ${at("extended")}`;
  expect(await asNobody(script)).toMatchObject({ code: 0 });

  for (const name of ["written", "cut", "extended"]) expect(modeOf(at(name)), name).toBe("777");
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  for (const name of ["written", "cut", "extended"]) expect(modeOf(join(daemon.backing, name)), name).toBe("777");
});
