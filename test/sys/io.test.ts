import { closeSync, existsSync, mkdirSync, openSync, readFileSync, statSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import { FALLOC, O } from "../../src/sys/constants.ts";
import type { Done, Io } from "../../src/sys/io.ts";
import { unmountLazily } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { run as runCommand } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { addressOf, bytes, drain as drainIo, implementations, iovec, LONG_US, resultOf } from "./implementations.ts";

describe.each(implementations)("Io by %s", (_name, make) => {
  let io: Io;
  let directory: string;

  beforeAll(() => {
    io = make();
  });
  afterAll(() => io.shutdown());
  beforeEach(() => {
    directory = scratchDirectory("io");
    bytes.fill(0);
  });

  const run = (submit: (done: Done) => void): number => resultOf(io, submit);
  const drain = (): void => drainIo(io);

  /** Opens a file of the scratch directory; closed after the test. */
  function file(name: string, flags: number | string = "w+"): number {
    const fd = openSync(join(directory, name), flags);
    testScope(() => closeSync(fd));
    return fd;
  }

  test("what writev wrote at an offset is what readv and others read there", () => {
    const fd = file("a");
    bytes.write("hello, ", 0);
    bytes.write("world", 100);
    const list = iovec(0, 0, 7);
    iovec(1, 100, 5);
    expect(run((done) => io.writev(fd, list, 2, 5000, done))).toBe(12);
    expect(readFileSync(join(directory, "a")).subarray(5000).toString()).toBe("hello, world");
    expect(run((done) => io.readv(fd, iovec(2, 4096, 12), 1, 5000, done))).toBe(12);
    expect(bytes.toString("latin1", 4096, 4108)).toBe("hello, world");
  });

  test.for(["w+", O.RDWR | O.CREAT | O.DIRECT])("what writeDurably wrote is there, flags %s", (flags) => {
    const fd = file("durable", flags);
    bytes.fill(0x64, 0, 8192);
    const list = iovec(0, 0, 4096);
    iovec(1, 4096, 4096);
    expect(run((done) => io.writeDurably(fd, list, 2, 4096, done))).toBe(8192);
    expect(readFileSync(join(directory, "durable"))).toEqual(
      Buffer.concat([Buffer.alloc(4096), Buffer.alloc(8192, 0x64)]),
    );
  });

  test("a posted write is done when the loop goes to sleep, and only one that fails is told, with its tag", () => {
    const failed: number[][] = [];
    io.whenPostFails((...post) => failed.push(post));
    const good = file("posted");
    const bad = openSync(join(directory, "posted"), "r");
    testScope(() => closeSync(bad));
    bytes.write("posted", 0);
    const address = addressOf(0);
    for (const tag of [0, 1, 1023]) {
      const posts = [good, bad, good].map((fd, i) => io.post(fd, address, 6, tag + i));
      expect(posts).toEqual(posts.map(() => io.kind === "uring"));
      expect(run((done) => io.fsync(good, false, done))).toBe(0);
    }
    const isTold = io.kind === "uring";
    expect(failed).toEqual(isTold ? [1, 2, 1024].map((tag) => [tag, -E.EBADF]) : []);
    expect(readFileSync(join(directory, "posted")).toString()).toBe(isTold ? "posted" : "");
    expect(io.inflight).toBe(0);
  });

  test("offsets above 4 GiB are kept whole", () => {
    const fd = file("big");
    const offset = 5 * 2 ** 30 + 123;
    bytes.write("far", 0);
    expect(run((done) => io.writev(fd, iovec(0, 0, 3), 1, offset, done))).toBe(3);
    expect(statSync(join(directory, "big")).size).toBe(offset + 3);
    expect(run((done) => io.readv(fd, iovec(0, 64, 3), 1, offset, done))).toBe(3);
    expect(bytes.toString("latin1", 64, 67)).toBe("far");
  });

  test("a read across the end of the file is short, and 0 behind it", () => {
    const fd = file("short");
    writeSync(fd, Buffer.alloc(1000, 1));
    expect(run((done) => io.readv(fd, iovec(0, 0, 4096), 1, 600, done))).toBe(400);
    expect(run((done) => io.readv(fd, iovec(0, 0, 4096), 1, 1000, done))).toBe(0);
  });

  test("a bad descriptor gives -EBADF for every operation", () => {
    const address = iovec(0, 0, 16);
    expect(run((done) => io.readv(-1, address, 1, 0, done))).toBe(-E.EBADF);
    expect(run((done) => io.writev(9999, address, 1, 0, done))).toBe(-E.EBADF);
    expect(run((done) => io.writeDurably(9999, address, 1, 0, done))).toBe(-E.EBADF);
    expect(run((done) => io.fsync(-1, false, done))).toBe(-E.EBADF);
    expect(run((done) => io.fallocate(-1, 0, 0, 1, done))).toBe(-E.EBADF);
    expect(run((done) => io.truncate(-1, 0, done))).toBe(-E.EBADF);
    expect(run((done) => io.syncfs(-1, done))).toBe(-E.EBADF);
    expect(run((done) => io.close(9999, done))).toBe(-E.EBADF);
    expect(run((done) => io.copyRange(-1, 0, -1, 0, 1, done))).toBe(-E.EBADF);
  });

  test("a misaligned O_DIRECT write gives -EINVAL, an aligned one its length", () => {
    const fd = file("direct", O.RDWR | O.CREAT | O.DIRECT);
    expect(run((done) => io.writev(fd, iovec(0, 0, 4096), 1, 100, done))).toBe(-E.EINVAL);
    expect(run((done) => io.writev(fd, iovec(0, 0, 4096), 1, 4096, done))).toBe(4096);
  });

  test("an unwritable descriptor and a directory give their own errors", () => {
    writeFileSync(join(directory, "ro"), "x");
    expect(run((done) => io.writev(file("ro", "r"), iovec(0, 0, 1), 1, 0, done))).toBe(-E.EBADF);
    expect(run((done) => io.readv(file(".", "r"), iovec(0, 0, 1), 1, 0, done))).toBe(-E.EISDIR);
  });

  test("a full filesystem gives -ENOSPC", async (context) => {
    need(context, "root", "mount");
    const mountpoint = join(directory, "tiny");
    mkdirSync(mountpoint);
    testScope(() => unmountLazily(mountpoint));
    await runCommand("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", mountpoint]);
    const fd = file("tiny/f");
    expect(run((done) => io.fallocate(fd, 0, 0, 2 ** 20, done))).toBe(-E.ENOSPC);
    expect(run((done) => io.writev(fd, iovec(0, 0, 65536), 1, 0, done))).toBe(65536);
    expect(run((done) => io.writev(fd, iovec(0, 0, 4096), 1, 65536, done))).toBe(-E.ENOSPC);
  });

  test("fsync, fdatasync and syncfs succeed on a file", () => {
    const fd = file("synced");
    writeSync(fd, "data");
    expect(run((done) => io.fsync(fd, false, done))).toBe(0);
    expect(run((done) => io.fsync(fd, true, done))).toBe(0);
    expect(run((done) => io.syncfs(fd, done))).toBe(0);
  });

  test("fallocate extends, keeps the size when told, and punches holes", () => {
    const fd = file("allocated");
    const path = join(directory, "allocated");
    expect(run((done) => io.fallocate(fd, 0, 0, 65536, done))).toBe(0);
    expect(statSync(path).size).toBe(65536);
    expect(run((done) => io.fallocate(fd, FALLOC.KEEP_SIZE, 65536, 65536, done))).toBe(0);
    expect(statSync(path).size).toBe(65536);
    writeSync(fd, Buffer.alloc(8192, 7), 0, 8192, 0);
    expect(run((done) => io.fallocate(fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 4096, 4096, done))).toBe(0);
    expect(readFileSync(path).subarray(0, 8192)).toEqual(Buffer.concat([Buffer.alloc(4096, 7), Buffer.alloc(4096)]));
  });

  test("truncate shrinks and grows, also above 4 GiB", () => {
    const fd = file("cut");
    writeSync(fd, Buffer.alloc(9000, 5));
    for (const length of [100, 6 * 2 ** 30 + 1, 0]) {
      expect(run((done) => io.truncate(fd, length, done))).toBe(0);
      expect(statSync(join(directory, "cut")).size).toBe(length);
    }
  });

  test("close closes the descriptor", () => {
    const fd = openSync(join(directory, "closed"), "w");
    expect(run((done) => io.close(fd, done))).toBe(0);
    expect(existsSync(`/proc/self/fd/${fd}`)).toBe(false);
  });

  test("copyRange copies between offsets of two files", () => {
    writeFileSync(join(directory, "from"), "0123456789");
    const to = file("to");
    expect(run((done) => io.copyRange(file("from", "r"), 2, to, 5, 100, done))).toBe(8);
    expect(readFileSync(join(directory, "to"))).toEqual(Buffer.from("\0\0\0\0\x0023456789", "latin1"));
  });

  test("a callback runs in wait, not in the call that submits", () => {
    const fd = file("later");
    let ran = false;
    io.fsync(fd, true, () => {
      ran = true;
    });
    expect(ran).toBe(false);
    expect(io.inflight).toBe(1);
    drain();
    expect(ran).toBe(true);
  });

  test("5000 operations at once all finish once, each with its own result and data", () => {
    const fd = file("many");
    const count = 2000; // iovec entries that fit below the payload
    const seen = new Uint8Array(5000);
    const wrong: string[] = [];
    for (let i = 0; i < count; i += 1) {
      bytes.writeUInt32LE(i + 1, i * 16);
      const length = 4 + (i % 8);
      io.writev(fd, iovec(i, i * 16, length), 1, i * 16, (result) => {
        seen[i]! += 1;
        if (result !== length) wrong.push(`${i}: ${result}`);
      });
    }
    for (let i = count; i < 5000; i += 1) {
      io.fsync(-1, true, (result) => {
        seen[i]! += 1;
        if (result !== -E.EBADF) wrong.push(`${i}: ${result}`);
      });
    }
    expect(io.inflight).toBe(5000);
    drain();
    expect(wrong).toEqual([]);
    expect(seen.every((times) => times === 1)).toBe(true);
    const written = readFileSync(join(directory, "many"));
    for (let i = 0; i < count; i += 1) expect(written.readUInt32LE(i * 16)).toBe(i + 1);
  });

  test("callbacks that submit keep a chain going, and a wait that they feed still returns", () => {
    const fd = file("chain");
    let left = 3000;
    const again: Done = () => {
      left -= 1;
      if (left >= 40) io.readv(fd, iovec(0, 0, 16), 1, 0, again);
    };
    for (let i = 0; i < 40; i += 1) io.readv(fd, iovec(0, 0, 16), 1, 0, again);
    io.wait(LONG_US);
    expect(left).toBeGreaterThan(0);
    drain();
    expect(left).toBe(0);
  });

  test("wait returns after its timeout when nothing happens, and at once with timeout 0", () => {
    const start = performance.now();
    io.wait(0);
    io.wait(20_000);
    const elapsed = performance.now() - start;
    expect(elapsed).toBeGreaterThan(15);
    expect(elapsed).toBeLessThan(10_000);
  });

  test("polling with timeout 0 alone brings an operation to its end", () => {
    const fd = file("polled");
    const results: number[] = [];
    io.fsync(fd, true, (result) => results.push(result));
    const deadline = performance.now() + 20_000;
    while (results.length === 0 && performance.now() < deadline) io.wait(0);
    expect(results).toEqual([0]);
  });
});
