import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { asFrame } from "../../src/base/units.ts";
import type { FrameTable } from "../../src/cache/frames.ts";
import { LruPolicy } from "../../src/policy/lru.ts";
import type { Policy } from "../../src/policy/policy.ts";
import { tableOf } from "../cache/table.ts";

const FRAMES = 32;
const POLICIES: [string, (frames: FrameTable) => Policy][] = [["lru", (frames) => new LruPolicy(frames)]];

function victimsOf(policy: Policy, most: number): number[] {
  const out = new Int32Array(FRAMES);
  return [...out.subarray(0, policy.victims(most, out))];
}

describe.each(POLICIES)("policy %s", (_name, make) => {
  test("gives each listed frame once, and no other", () => {
    const act = fc.record({
      what: fc.constantFrom("admit", "rewrite", "remove", "take", "return"),
      frame: fc.nat(FRAMES - 1),
    });
    fc.assert(
      fc.property(fc.array(act, { maxLength: 200 }), (acts) => {
        const policy = make(tableOf(FRAMES));
        const listed = new Set<number>();
        const taken = new Set<number>();
        for (const { what, frame } of acts) {
          const number = asFrame(frame);
          const other = [...listed][0];
          const isNew = !listed.has(frame) && !taken.has(frame);
          if (what === "admit" && isNew) {
            policy.admitted(number);
            listed.add(frame);
          } else if (what === "rewrite" && isNew && other !== undefined) {
            policy.rewritten(asFrame(other), number);
            listed.delete(other);
            listed.add(frame);
          } else if (what === "remove") {
            policy.removed(number);
            listed.delete(frame);
          } else if (what === "take") {
            for (const victim of victimsOf(policy, 3)) {
              expect(listed.delete(victim)).toBe(true);
              taken.add(victim);
            }
          } else if (what === "return" && taken.delete(frame)) {
            policy.returned(number);
            listed.add(frame);
          }
          expect(policy.count).toBe(listed.size);
          for (let i = 0; i < FRAMES; i++) expect(policy.isListed(asFrame(i))).toBe(listed.has(i));
        }
        expect(new Set(victimsOf(policy, FRAMES))).toEqual(listed);
        expect(policy.count).toBe(0);
      }),
      { numRuns: 50 },
    );
  });

  test("gives what came back from a failed home write first", () => {
    const policy = make(tableOf(FRAMES));
    for (let frame = 0; frame < 5; frame++) policy.admitted(asFrame(frame));
    const [first] = victimsOf(policy, 1);
    policy.returned(asFrame(first!));
    expect(victimsOf(policy, 1)).toEqual([first]);
  });
});

test("lru gives the least recently written first", () => {
  const policy = new LruPolicy(tableOf(FRAMES));
  for (let frame = 0; frame < 4; frame++) policy.admitted(asFrame(frame));
  policy.rewritten(asFrame(0), asFrame(9));
  expect(victimsOf(policy, 10)).toEqual([1, 2, 3, 9]);
});
