import fc from "fast-check";
import { expect, test } from "vitest";
import { LANDING_FRAMES } from "../../src/base/limits.ts";
import { asFrame } from "../../src/base/units.ts";
import { FrameAllocator } from "../../src/cache/allocator.ts";

const FRAMES = 1000;

function full(): FrameAllocator {
  const allocator = new FrameAllocator(FRAMES, 0);
  for (let frame = 0; frame < FRAMES; frame++) allocator.release(asFrame(frame));
  return allocator;
}

test("a frame has one owner, and none is lost, whatever is taken and released", () => {
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: LANDING_FRAMES }) }),
    fc.record({ release: fc.nat(), stride: fc.integer({ min: 1, max: 7 }) }),
  );
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const allocator = full();
      const held = new Set<number>();
      const out = new Int32Array(LANDING_FRAMES);
      for (const act of steps) {
        const isReady = allocator.ready();
        expect(isReady).toBe(FRAMES - held.size >= LANDING_FRAMES);
        if ("take" in act) {
          if (!isReady) continue;
          const first = allocator.peek(0);
          allocator.take(act.take, out);
          expect(out[0]).toBe(first);
          for (const frame of out.subarray(0, act.take)) {
            expect(held.has(frame)).toBe(false);
            held.add(frame);
          }
        } else {
          const some = [...held].filter((_, i) => i % act.stride === act.release % act.stride);
          for (const frame of some) {
            held.delete(frame);
            allocator.release(asFrame(frame));
          }
        }
        expect(allocator.free).toBe(FRAMES - held.size);
      }
    }),
    { numRuns: 50 },
  );
});

test("a frame that is released twice is a bug", () => {
  expect(() => full().release(asFrame(3))).toThrow("freed once");
});
