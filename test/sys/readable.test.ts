import { readSync, writeSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Io } from "../../src/sys/io.ts";
import * as libc from "../../src/sys/libc.ts";
import { testScope } from "../support/scope.ts";
import { implementations, LONG_US } from "./implementations.ts";

const SYS_pipe2 = process.arch === "arm64" ? 59 : 293;

/** Read and write end of a new pipe; closed after the test. */
function pipe(): [number, number] {
  const ends = openPipe();
  testScope(() => ends.forEach((fd) => libc.close(fd)));
  return ends;
}

/** Read and write end of a new pipe, the caller's to close. A number closed twice may by then be somebody else's. */
function openPipe(): [number, number] {
  const fds = Buffer.alloc(8);
  expect(libc.syscall(SYS_pipe2, libc.addressOfBuffer(fds), 0, 0, 0, 0, 0)).toBe(0);
  return [fds.readInt32LE(0), fds.readInt32LE(4)];
}

describe.each(implementations)("whenReadable by %s", (_name, make) => {
  let io: Io;

  beforeEach(() => {
    io = make();
  });
  afterEach(() => io.shutdown());

  test("whenReadable calls once for each arming, when there is something to read", () => {
    const [readEnd, writeEnd] = pipe();
    let calls = 0;
    const ready = () => {
      calls += 1;
    };
    io.whenReadable(readEnd, ready);
    io.wait(0);
    io.wait(1000);
    expect(calls).toBe(0);
    expect(io.inflight).toBe(0);
    writeSync(writeEnd, "x");
    for (let i = 0; i < 5; i += 1) io.wait(1000);
    expect(calls).toBe(1);
    io.whenReadable(readEnd, ready); // still readable: called again at once
    io.wait(LONG_US);
    expect(calls).toBe(2);
  });

  test("three descriptors are waited for at once, and arming again from the callback works", () => {
    const pipes = [pipe(), pipe(), pipe()];
    const calls = [0, 0, 0];
    pipes.forEach(([readEnd], i) => {
      const ready = () => {
        calls[i]! += 1;
        readSync(readEnd, Buffer.alloc(10));
        io.whenReadable(readEnd, ready);
      };
      io.whenReadable(readEnd, ready);
    });
    for (const turn of [1, 2, 3]) {
      for (const i of [2, 0, 1]) {
        writeSync(pipes[i]![1], "x");
        io.wait(LONG_US);
        for (let waits = 0; calls[i]! < turn && waits < 10; waits += 1) io.wait(10_000);
        expect(calls[i]).toBe(turn);
      }
    }
  });

  test("whenReadable also tells of a closed peer and of a bad descriptor", () => {
    const [readEnd, writeEnd] = openPipe();
    testScope(() => libc.close(readEnd));
    let calls = 0;
    const ready = () => {
      calls += 1;
    };
    io.whenReadable(readEnd, ready);
    libc.close(writeEnd);
    io.wait(LONG_US);
    io.whenReadable(9999, ready);
    io.wait(LONG_US);
    expect(calls).toBe(2);
  });
});
