import { expect, test, vi } from "vitest";
import { E } from "../../src/base/errno.ts";
import { asFrame, BLOCK_BYTES } from "../../src/base/units.ts";
import type { Namespace } from "../../src/fs/context.ts";
import { lookupHandlers } from "../../src/fs/lookup.ts";
import { Served } from "../../src/fuse/session.ts";
import { PARKED } from "../../src/volume/volume.ts";
import { fragment, QUEUE, sessionRig, writeRequest } from "./kernel.ts";

const WRITTEN = 100 * BLOCK_BYTES;

test("a flood of forgets, in batches as large as the memory for them, is carried out whole", () => {
  const forgotten: number[] = [];
  const inodes = {
    known: () => true,
    forget: (slot: number, count: number) => forgotten.push(slot, count),
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

test("of any number of writes that are answered in one turn, each gets its answer, once", () => {
  const parked: ((result: number) => void)[] = [];
  const rig = sessionRig({
    write: (_, __, ___, frames, defer) => {
      parked.push(defer());
      rig.allocator.release(asFrame(frames[0]!));
      return PARKED;
    },
  });
  const { session, kernel } = rig;
  session.keepsAnswers = true;
  const uniques = Array.from({ length: QUEUE * 10 }, (_, i) => 2 * i + 2);
  kernel.requests.push(...uniques.map((unique) => writeRequest(unique, BLOCK_BYTES)));
  session.serve(Number.POSITIVE_INFINITY);
  for (const answer of parked) answer(BLOCK_BYTES);
  kernel.sendPosted();
  const answered = kernel.replies().map(({ unique }) => unique);
  expect(answered.toSorted((a, b) => a - b)).toEqual(uniques);
});
