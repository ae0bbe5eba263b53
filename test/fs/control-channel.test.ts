import { describe, expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import { Failure } from "../../src/base/errors.ts";
import { COMMAND_BYTES_MAX, CONVERSATIONS_MAX } from "../../src/fs/control-channel.ts";
import { answerError, answerOk, CommandTable, exitCodeOf } from "../../src/fs/control-commands.ts";
import { Opcode, OpenReply } from "../../src/fuse/constants.ts";
import { PENDING } from "../../src/fuse/request.ts";
import { O } from "../../src/sys/constants.ts";
import { ControlRig, OWNER } from "./control-rig.ts";

const CONTROL = 5;

/** A rig with commands that answer at once, later, with errors, or break. */
function rigged(): { rig: ControlRig; waiting: ((answer: string) => void)[] } {
  const waiting: ((answer: string) => void)[] = [];
  const commands = new CommandTable({
    say: { usage: "TEXT", run: (argument, done) => done(answerOk(argument)) },
    wait: { usage: "", run: (_, done) => void waiting.push(done) },
    refuse: {
      usage: "",
      run: () => {
        throw new Failure("guest.raw: in use\nby somebody", 3);
      },
    },
    fail: { usage: "", run: (_, done) => done(answerError(1, "EIO")) },
    bug: {
      usage: "",
      run: () => {
        throw new TypeError("a bug");
      },
    },
  });
  return { rig: new ControlRig(commands), waiting };
}

/** Writes a command and reads its whole answer. */
function ask(rig: ControlRig, line: string): { wrote: number; answer: string | number } {
  const { fh } = rig.open(CONTROL, O.RDWR);
  const { outcome } = rig.write(fh, line);
  return { wrote: outcome, answer: rig.text(CONTROL, fh, 0) };
}

describe("opening control", () => {
  test("is for root and the mounting user alone", () => {
    const { rig } = rigged();
    expect([0, OWNER.uid, 1001].map((uid) => rig.open(CONTROL, O.RDWR, uid).outcome)).toEqual([0, 0, -E.EACCES]);
  });

  test("gives a stream, so that the answer is read from its start", () => {
    const { flags } = rigged().rig.open(CONTROL, O.RDWR);
    expect(flags).toBe(OpenReply.DIRECT_IO | OpenReply.STREAM | OpenReply.NONSEEKABLE);
  });

  test("is refused while as many commands as are remembered are being carried out", () => {
    const { rig, waiting } = rigged();
    for (let i = 0; i < CONVERSATIONS_MAX; i++) rig.write(rig.open(CONTROL, O.RDWR).fh, "wait\n");
    expect(rig.open(CONTROL, O.RDWR).outcome).toBe(-E.ENFILE);
    waiting[7]!("ok");
    expect(rig.open(CONTROL, O.RDWR).outcome).toBe(0);
  });
});

describe("a command", () => {
  test("is answered on the same handle, once", () => {
    const { rig } = rigged();
    const { fh } = rig.open(CONTROL, O.RDWR);
    const { outcome, bytes } = rig.write(fh, "say hello there\n");
    expect([outcome, bytes.readUInt32LE(0), bytes.length]).toEqual([0, 16, 8]);
    expect([rig.text(CONTROL, fh, 0, 8), rig.text(CONTROL, fh, 0), rig.text(CONTROL, fh, 0)]).toEqual([
      "ok hello",
      " there\n",
      "",
    ]);
  });

  test("may lack its line feed, and keeps the bytes and blanks of names", () => {
    expect(ask(rigged().rig, "say").answer).toBe("ok\n");
    expect(ask(rigged().rig, "say  Gr\xfc\xdfe \n").answer).toBe("ok  Gr\xfc\xdfe \n");
  });

  test("that takes long leaves the write pending until it is done", () => {
    const { rig, waiting } = rigged();
    const { fh } = rig.open(CONTROL, O.RDWR);
    expect(rig.write(fh, "wait\n").outcome).toBe(PENDING);
    expect([rig.late, rig.write(fh, "say no\n").outcome]).toEqual([[], -E.EBUSY]);
    waiting[0]!("ok drained");
    expect(rig.late.map(({ outcome, bytes }) => [outcome, bytes.readUInt32LE(0)])).toEqual([[0, 5]]);
    expect(rig.text(CONTROL, fh, 0)).toBe("ok drained\n");
    expect(rig.write(fh, "say again\n").outcome).toBe(0);
  });

  test("that fails late fails the write, and its answer says why", () => {
    const { rig, waiting } = rigged();
    const { fh } = rig.open(CONTROL, O.RDWR);
    rig.write(fh, "wait\n");
    waiting[0]!(answerError(1, "guest.raw: EIO"));
    expect(rig.late.map(({ outcome }) => outcome)).toEqual([-E.EIO]);
    expect(rig.text(CONTROL, fh, 0)).toBe("error 1 guest.raw: EIO\n");
  });

  test.each([
    ["nonsense\n", -E.EINVAL, "error 2 nonsense is no command; there are say TEXT, wait, refuse, fail, bug\n"],
    ["\n", -E.EINVAL, "error 2 an empty line is no command; there are say TEXT, wait, refuse, fail, bug\n"],
    ["wait here\n", -E.EINVAL, "error 2 wait takes nothing: received here\n"],
    ["say a\nsay b\n", -E.EINVAL, "error 2 one command a write: received several lines\n"],
    ["__proto__\n", -E.EINVAL, "error 2 __proto__ is no command; there are say TEXT, wait, refuse, fail, bug\n"],
    ["refuse\n", -E.EBUSY, "error 3 guest.raw: in use by somebody\n"],
    ["fail\n", -E.EIO, "error 1 EIO\n"],
  ])("%j is answered with its error", (line, wrote, answer) => {
    expect(ask(rigged().rig, line)).toEqual({ wrote, answer });
  });

  test("that is too long is refused", () => {
    const { wrote, answer } = ask(rigged().rig, `say ${"x".repeat(COMMAND_BYTES_MAX)}`);
    expect([wrote, answer]).toEqual([-E.EINVAL, "error 2 a command has at most 8192 bytes: received 8196\n"]);
  });

  test("with a bug is the dispatcher's to report, and leaves the conversation usable", () => {
    const { rig } = rigged();
    const { fh } = rig.open(CONTROL, O.RDWR);
    expect(() => rig.write(fh, "bug\n")).toThrow("a bug");
    expect(rig.write(fh, "say on\n").outcome).toBe(0);
  });

  test("is accepted on a handle that an engine which died had given", () => {
    const { rig } = rigged();
    expect(rig.write(99, "say hello\n").outcome).toBe(0);
    expect(rig.text(CONTROL, 99, 0)).toBe("ok hello\n");
  });
});

test("an answer that was lost with its engine says so, once", () => {
  const { rig } = rigged();
  expect([rig.text(CONTROL, 99, 0), rig.text(CONTROL, 99, 0)]).toEqual([
    "error 1 the answer is gone: the engine died before it was read, or 64 newer ones came; what the write returned holds\n",
    "",
  ]);
});

test("a released handle is forgotten", () => {
  const { rig } = rigged();
  const { fh } = rig.open(CONTROL, O.RDWR);
  rig.write(fh, "say hello\n");
  rig.send({ opcode: Opcode.RELEASE, node: CONTROL, fields: [[0, fh, 8]] });
  expect(rig.text(CONTROL, fh, 0)).toMatch(/^error 1 the answer is gone/);
});

test("exit codes are read back from answers", () => {
  const answers = [answerOk(), answerOk("x"), answerError(3, "no"), "error 9", "okay", "", "error x"];
  expect(answers.map(exitCodeOf)).toEqual([0, 0, 3, 9, 1, 1, 1]);
});
