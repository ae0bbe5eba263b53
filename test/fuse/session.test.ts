import { describe, expect, onTestFinished, test, vi } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { E } from "../../src/base/errno.ts";
import { asFrame, BLOCK_BYTES } from "../../src/base/units.ts";
import type { Namespace } from "../../src/fs/context.ts";
import { lookupHandlers } from "../../src/fs/lookup.ts";
import { KEPT_BYTES_MAX } from "../../src/fuse/batching.ts";
import { Opcode } from "../../src/fuse/constants.ts";
import { type Handler, PENDING } from "../../src/fuse/request.ts";
import { Served } from "../../src/fuse/session.ts";
import { HistogramSlot } from "../../src/stats/counters.ts";
import type { IoVector } from "../../src/sys/iovec.ts";
import { Mapping } from "../../src/sys/memory.ts";
import { PARKED } from "../../src/volume/volume.ts";
import { fragment, QUEUE, readRequest, request, type SessionRig, sessionRig, writeRequest } from "./kernel.ts";

const WRITTEN = 100 * BLOCK_BYTES;

test("a flood of forgets, in batches as large as the memory for them, is carried out whole", () => {
  const forgotten: number[] = [];
  const inodes = {
    known: () => true,
    forgetOfMany: (slot: number, count: number) => forgotten.push(slot, count),
  };
  const handlers = lookupHandlers({ inodes } as unknown as Namespace);
  const rig = sessionRig({ write: () => WRITTEN }, handlers);
  const { session, kernel } = rig;
  fragment(rig);
  kernel.requests.push(writeRequest(2, WRITTEN)); // more frames than one are named from now on
  session.serve(8);

  kernel.forgets = Array.from({ length: 300_000 }, (_, i) => BigInt(i + 2));
  expect(session.serve(8)).toBe(Served.idle);
  expect(forgotten).toEqual(Array.from({ length: 300_000 }, (_, i) => [i + 1, 1]).flat());
  expect(rig.logged).toEqual([]);
});

test("a request whose landing hits a bug is answered EIO, and the next one is served", () => {
  const rig = sessionRig({
    write: (_, __, length, frames) => {
      for (const frame of frames.subarray(0, length / BLOCK_BYTES)) rig.allocator.release(asFrame(frame));
      return length;
    },
  });
  const { session, kernel, slab } = rig;
  fragment(rig);
  const frameView = vi.spyOn(slab, "frameView").mockImplementationOnce(() => {
    throw new Error("bug");
  });
  kernel.requests.push(writeRequest(2, WRITTEN), writeRequest(4, WRITTEN));
  expect(session.serve(8)).toBe(Served.idle);
  expect(frameView).toHaveBeenCalled();
  expect(rig.logged).toHaveLength(1);
  expect(kernel.replies()).toMatchObject([
    { unique: 2, error: -E.EIO },
    { unique: 4, error: 0 },
  ]);
});

test.each([1, 3, 32, Number.POSITIVE_INFINITY])(
  "of any number of writes that are answered in one turn, %d together, each gets its answer, once",
  (together) => {
    const parked: ((result: number) => void)[] = [];
    const rig = sessionRig({
      write: (_, __, ___, frames, defer) => {
        parked.push(defer());
        rig.allocator.release(asFrame(frames[0]!));
        return PARKED;
      },
    });
    const { session, kernel, batching } = rig;
    batching.together = together;
    const uniques = Array.from({ length: QUEUE * 10 }, (_, i) => 2 * i + 2);
    kernel.requests.push(...uniques.map((unique) => writeRequest(unique, BLOCK_BYTES)));
    session.serve(Number.POSITIVE_INFINITY);
    for (const answer of parked) answer(BLOCK_BYTES);
    kernel.sendPosted();
    const answered = kernel.replies().map(({ unique }) => unique);
    expect(answered.toSorted((a, b) => a - b)).toEqual(uniques);
  },
);

test("while answers are kept, short ones leave together, and what has a body or answers much at once", () => {
  const handlers: Partial<Record<number, Handler>> = {
    [Opcode.FSYNC]: () => 0,
    [Opcode.GETATTR]: (_, body) => (body.zeros(8), 0),
  };
  const { session, kernel, batching } = sessionRig({ write: (_, __, length) => length }, handlers);
  batching.together = 32;
  kernel.requests.push(
    writeRequest(2, BLOCK_BYTES),
    request(Opcode.FSYNC, 4, Buffer.alloc(16)),
    request(Opcode.GETATTR, 6, Buffer.alloc(16)),
    writeRequest(8, KEPT_BYTES_MAX),
    writeRequest(10, KEPT_BYTES_MAX - BLOCK_BYTES),
  );
  session.serve(8);
  expect(kernel.replies().map(({ unique }) => unique)).toEqual([6, 8]);
  kernel.sendPosted();
  expect(kernel.replies()).toMatchObject([
    { unique: 2, error: 0, bytes: 24 },
    { unique: 4, error: 0, bytes: 16 },
    { unique: 10, error: 0, bytes: 24 },
  ]);
});

test("as many answers as are to leave together do so in the middle of a turn", () => {
  const { session, kernel, batching } = sessionRig({ write: (_, __, length) => length });
  batching.together = 4;
  for (let unique = 2; unique <= 12; unique += 2) kernel.requests.push(writeRequest(unique, BLOCK_BYTES));
  session.serve(3);
  expect(kernel.replies()).toEqual([]);
  session.serve(8);
  expect(kernel.replies().map(({ unique }) => unique)).toEqual([2, 4, 6, 8]);
  kernel.sendPosted();
  expect(kernel.replies().map(({ unique }) => unique)).toEqual([10, 12]);
});

describe("what a write takes is counted when its answer leaves", () => {
  /** The counts of writes that each take 10 us, served in turns of so many. */
  function timesOf(together: number, turns: readonly number[]): number[] {
    let passed = 0;
    const clock: Clock = { lastUs: 0, nowUs: () => passed, civil: () => ({ seconds: 0, nanoseconds: 0 }) };
    const keeping = { ...clock, nowUs: () => (keeping.lastUs = passed) };
    const write = (_: number, __: number, length: number): number => ((passed += 10), length);
    const { session, kernel, batching, counters } = sessionRig({ write }, {}, keeping);
    batching.together = together;
    for (const requests of turns) {
      for (let i = 0; i < requests; i++) kernel.requests.push(writeRequest(2, BLOCK_BYTES));
      session.serve(requests);
      kernel.sendPosted();
      passed += 1000;
    }
    const { write: histogram } = HistogramSlot;
    return [counters.countBelow(histogram, Number.POSITIVE_INFINITY), counters.sum(histogram), counters.max(histogram)];
  }

  test("at once", () => expect(timesOf(1, [3, 2])).toEqual([5, 50, 10]));

  test("at the end of a turn", () => expect(timesOf(8, [3, 2])).toEqual([5, 3 * 30 + 2 * 20, 30]));

  test("in the middle of one", () => expect(timesOf(2, [5])).toEqual([5, 4 * 20 + 10, 20]));
});

describe("a reply that the kernel does not take", () => {
  const getattr = request(Opcode.GETATTR, 2, Buffer.alloc(16));
  const served = (handler: Handler): SessionRig => sessionRig({}, { [Opcode.GETATTR]: handler });
  const kinds: [string, Buffer, () => SessionRig, number][] = [
    ["an error", getattr, () => served(() => -E.ESTALE), 16],
    ["a body", getattr, () => served((_, body) => (body.zeros(8), 0)), 24],
    ["an error told later", getattr, () => served((later) => (later.later().end(-E.EPERM), PENDING)), 16],
    [
      "a body told later",
      getattr,
      () => served((later) => (later.later().reply((body) => body.zeros(8)), PENDING)),
      24,
    ],
    ["a write's", writeRequest(2, BLOCK_BYTES), () => sessionRig({ write: () => BLOCK_BYTES }), 24],
    ["a write's, kept", writeRequest(2, BLOCK_BYTES), () => keeping(sessionRig({ write: () => BLOCK_BYTES })), 24],
    ["an error, kept", getattr, () => keeping(served(() => -E.ESTALE)), 16],
    ["one without a body, kept", getattr, () => keeping(served(() => 0)), 16],
    ["a read's", readRequest(2, BLOCK_BYTES), () => sessionRig({ read: blockOfZeros }), 16 + BLOCK_BYTES],
  ];

  function keeping(rig: SessionRig): SessionRig {
    rig.batching.together = 32;
    return rig;
  }

  function blockOfZeros(_: number, __: number, ___: number, iov: IoVector): number {
    const block = Mapping.anonymous(BLOCK_BYTES);
    onTestFinished(() => block.unmap());
    iov.set(1, block.address, BLOCK_BYTES);
    return 2;
  }

  test.each(kinds)("is logged, and its request gets EIO, once: %s", (_, message, make, bytes) => {
    const { session, kernel, logged } = make();
    for (const refusals of [[-E.EINVAL], [-E.ENOMEM, -E.ENOENT], [-E.EINVAL, -E.EINVAL]]) {
      kernel.requests.push(message);
      kernel.refusals.push(...refusals);
      session.serve(8);
      kernel.sendPosted();
      expect(kernel.refusals).toEqual([]);
      expect(kernel.replies()).toEqual(refusals.length > 1 ? [] : [{ unique: 2, error: -E.EIO, bytes: 16 }]);
      expect(logged.splice(0)).toEqual([[refusals[0], bytes]]);
    }
  });

  test.each(kinds)("is nothing to tell when nobody waits for it: %s", (_, message, make) => {
    const { session, kernel, logged } = make();
    kernel.requests.push(message);
    kernel.refusals.push(-E.ENOENT);
    session.serve(8);
    kernel.sendPosted();
    expect(kernel.replies()).toEqual([]);
    expect(logged).toEqual([]);
  });
});
