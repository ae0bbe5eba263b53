import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { chooseIo } from "../../src/sys/choose-io.ts";

const program = fileURLToPath(new URL("../../dist/test/sys/forbidden-ring.js", import.meta.url));
const whereForbidden = (choice: string): unknown =>
  JSON.parse(execFileSync(process.execPath, [program, choice], { encoding: "utf8", timeout: 30_000 }));

describe("chooseIo", () => {
  test("auto gives threads that work where io_uring is forbidden, and says so", () => {
    const reason = expect.stringMatching(/^worker threads do the I\/O, because of io_uring: .*EPERM/) as unknown;
    expect(whereForbidden("auto")).toEqual({ kind: "threads", reason, read: 1000 });
  });

  test("uring is refused in one line where it is forbidden, with the exit code for that", () => {
    const failure = expect.stringMatching(/^io_uring: .*EPERM.*use --io threads.*$/) as unknown;
    expect(whereForbidden("uring")).toEqual({ failure, exitCode: ExitCode.forbidden });
  });

  test("gives threads when threads are wanted", () => {
    const { io, reason } = chooseIo("threads");
    expect(io.kind).toBe("threads");
    expect(reason).toMatch(/threads/);
    io.shutdown();
  });

  test("auto gives an Io that works, and one sentence why it is that one", () => {
    const { io, reason } = chooseIo("auto");
    expect(reason).toMatch(io.kind === "uring" ? /^io_uring works/ : /^worker threads do the I\/O, because/);
    expect(reason).not.toContain("\n");
    io.shutdown();
  });
});
