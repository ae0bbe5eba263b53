import { ftruncateSync, writeSync } from "node:fs";
import { expect, test } from "vitest";
import { LANDING_FRAMES, REQUEST_BYTES_MAX } from "../../src/base/limits.ts";
import { asFrame, BLOCK_BYTES } from "../../src/base/units.ts";
import { Landing } from "../../src/fuse/landing.ts";
import * as libc from "../../src/sys/libc.ts";
import { Mapping } from "../../src/sys/memory.ts";
import { file, fragment, HEAD_BYTES, memory } from "./kernel.ts";

const LIVE = 0xee;
/** Longer than any request. */
const ENDLESS = HEAD_BYTES + 4 * REQUEST_BYTES_MAX;

/** Bytes that differ from block to block, and from the frames'. */
const payload = Buffer.alloc(ENDLESS, Buffer.from(Array.from({ length: 211 }, (_, i) => i)));

// The kernel fills what it is given with a batch of forgets, and reads nothing into less than the head and the largest payload.
test.each([0, 1, 2, 100, 255, 256, 257])(
  "a request as large as the memory named lands whole, after one of %i blocks",
  (before) => {
    const area = memory();
    const { slab, allocator } = area;
    fragment(area);
    const window = new Set(Array.from({ length: LANDING_FRAMES }, (_, i) => allocator.peek(i)));
    for (let frame = asFrame(0); frame < slab.frames; frame++) {
      if (!window.has(frame))
        slab.frameView(frame).fill(LIVE, slab.frameIndex(frame), slab.frameIndex(frame) + BLOCK_BYTES);
    }
    const head = Mapping.anonymous(BLOCK_BYTES);
    const landing = new Landing(slab, allocator, head.address, HEAD_BYTES);
    const input = file();
    const land = (): number => {
      const bytes = libc.preadv(input, landing.address, landing.aim(), 0);
      if (bytes > HEAD_BYTES) landing.landed(bytes - HEAD_BYTES);
      return bytes - HEAD_BYTES;
    };

    writeSync(input, payload.subarray(0, HEAD_BYTES + Math.min(before * BLOCK_BYTES, REQUEST_BYTES_MAX)));
    land();
    ftruncateSync(input, 0);
    writeSync(input, payload);
    const bytes = land();

    expect(bytes).toBeGreaterThanOrEqual(REQUEST_BYTES_MAX);
    expect(bytes).toBeLessThanOrEqual(LANDING_FRAMES * BLOCK_BYTES);
    const got = Buffer.alloc(bytes);
    landing.copyTo(got, bytes);
    expect(got.equals(payload.subarray(HEAD_BYTES, HEAD_BYTES + bytes))).toBe(true);
    for (let frame = asFrame(0); frame < slab.frames; frame++) {
      const at = slab.frameIndex(frame);
      const isLive = slab
        .frameView(frame)
        .subarray(at, at + BLOCK_BYTES)
        .every((byte) => byte === LIVE);
      expect(isLive).toBe(!window.has(frame));
    }
    head.unmap();
  },
);
