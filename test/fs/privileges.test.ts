/** Set-user-id, set-group-id and capabilities of a file whose data is still to go home, where writing it takes them away. */
import { closeSync, openSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import { Opcode, SetattrValid as Valid } from "../../src/fuse/constants.ts";
import { PENDING } from "../../src/fuse/request.ts";
import { need } from "../support/need.ts";
import { ordinaryUser } from "../support/ordinary-user.ts";
import { type Call, fields, type Reply, Rig } from "./rig.ts";

const USER = 1001;
const CAPABILITY = "security.capability";
/** cap_net_raw+ep, as setcap writes it. */
const NET_RAW = fields(0x02000001, 1 << 13, 0, 0, 0);

let rig: Rig;
const at = (name: string): string => join(rig.backing, name);
const modeOf = (name: string): number => statSync(at(name)).mode & 0o7777;
const dirtied = (name: string, mode = 0o755): Reply => {
  const file = rig.create(name, {}, 0o302, mode);
  rig.dirty(file.slot, 4096, 1);
  return file;
};

const chmod = (file: Reply, mode: number, call: Call = {}): Reply => {
  const body = fields(Valid.MODE, 0, 0n, 0n, 0n, 0n, 0n, 0n, 0, 0, 0, mode, 0, 0, 0, 0);
  return rig.send(Opcode.SETATTR, body, { node: file.node, ...call });
};
const setcap = (file: Reply, call: Call = {}): Reply => {
  const body = Buffer.concat([fields(NET_RAW.length, 0, CAPABILITY), NET_RAW]);
  return rig.send(Opcode.SETXATTR, body, { node: file.node, ...call });
};
const getcap = (file: Reply): Reply => rig.send(Opcode.GETXATTR, fields(100, 0, CAPABILITY), { node: file.node });

describe("a mode with set-user-id or set-group-id", () => {
  beforeEach(() => {
    rig = new Rig({ keepsSetId: false });
  });
  afterEach(() => rig.close());

  /** Writes the file home as an engine that is not root's does. */
  const goHome = (file: Reply, name: string): void => {
    const fd = openSync(at(name), "r+");
    ordinaryUser(USER, () => writeSync(fd, "data"));
    closeSync(fd);
    rig.data.clean(file.slot);
  };

  it("is set when what was written before is home, which would take it away", (context) => {
    need(context, "root");
    const file = dirtied("f", 0o777);
    expect(chmod(file, 0o6777).error).toBe(PENDING);
    expect(modeOf("f")).toBe(0o777);
    goHome(file, "f");
    expect(rig.answer!.attr(16).mode & 0o7777).toBe(0o6777);
    expect(modeOf("f")).toBe(0o6777);
    expect(rig.data.changed).toContain(file.slot);
  });

  it("is set by the next engine when the request comes again", (context) => {
    need(context, "root");
    const file = dirtied("f", 0o777);
    expect(chmod(file, 0o6777, { unique: 20 }).error).toBe(PENDING);
    rig.restart();
    expect(chmod(file, 0o6777, { unique: 20, resent: true }).error).toBe(PENDING);
    goHome(file, "f");
    expect(modeOf("f")).toBe(0o6777);
    rig.restart();
    expect(chmod(file, 0o6777, { unique: 20, resent: true }).attr(16).mode & 0o7777).toBe(0o6777);
  });

  it("is not set when the data cannot go home", () => {
    const file = dirtied("f");
    rig.data.flushResult = -E.EIO;
    chmod(file, 0o4755);
    rig.data.clean(file.slot);
    expect(rig.answer!.error).toBe(-E.EIO);
    expect(modeOf("f")).toBe(0o755);
  });

  it("is set at once on clean files and directories, and so is any other mode", () => {
    const [clean, directory, dirty] = [rig.create("clean"), rig.mkdir("directory"), dirtied("dirty")];
    expect(chmod(clean, 0o6755).error).toBe(0);
    expect(chmod(directory, 0o2755).error).toBe(0);
    expect(chmod(dirty, 0o1700).error).toBe(0);
    expect(["clean", "directory", "dirty"].map(modeOf)).toEqual([0o6755, 0o2755, 0o1700]);
  });
});

describe("capabilities", () => {
  beforeEach(() => {
    rig = new Rig();
  });
  afterEach(() => rig.close());

  it("are given when what was written before is home, which would take them away", (context) => {
    need(context, "root");
    const file = dirtied("f");
    expect(setcap(file).error).toBe(PENDING);
    expect(getcap(file).error).toBe(-E.ENODATA);
    writeFileSync(at("f"), "data");
    rig.send(Opcode.GETATTR, fields("x".repeat(200)), { node: file.node }); // other requests come in between
    rig.data.clean(file.slot);
    expect(rig.answer!.error).toBe(0);
    expect(getcap(file).body.equals(NET_RAW)).toBe(true);
  });

  it("are given by the next engine when the request comes again", (context) => {
    need(context, "root");
    const file = dirtied("f");
    expect(setcap(file, { unique: 20 }).error).toBe(PENDING);
    rig.restart();
    expect(setcap(file, { unique: 20, resent: true }).error).toBe(PENDING);
    rig.data.clean(file.slot);
    rig.restart();
    expect(setcap(file, { unique: 20, resent: true }).error).toBe(0);
    expect(getcap(file).body.equals(NET_RAW)).toBe(true);
  });

  it("are not given when the data cannot go home, and given at once to a clean file", (context) => {
    need(context, "root");
    const [failing, clean] = [dirtied("f"), rig.create("g")];
    rig.data.flushResult = -E.EIO;
    setcap(failing);
    rig.data.clean(failing.slot);
    expect(rig.answer!.error).toBe(-E.EIO);
    expect(getcap(failing).error).toBe(-E.ENODATA);
    expect(setcap(clean).error).toBe(0);
    expect(getcap(clean).error).toBe(0);
  });
});
