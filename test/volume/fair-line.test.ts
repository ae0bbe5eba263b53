import { expect, test } from "vitest";
import { asSlot } from "../../src/base/units.ts";
import { FairLine } from "../../src/volume/fair-line.ts";

const [A, B] = [asSlot(1), asSlot(2)];

/** Takes out `count` entries, or all. */
function served(line: FairLine<string>, count = line.length): string[] {
  return Array.from({ length: count }, () => {
    const head = line.head!;
    line.shift();
    return head;
  });
}

test("one image's writes keep their order", () => {
  const line = new FairLine<string>();
  for (const name of ["a1", "a2", "a3"]) line.push(A, 10, name);
  expect(served(line)).toEqual(["a1", "a2", "a3"]);
  expect(line.head).toBeUndefined();
});

test("a write does not stand behind a flood of another image's", () => {
  const line = new FairLine<string>();
  for (let i = 1; i <= 20; i++) line.push(A, 256, `a${i}`);
  expect(served(line, 3)).toEqual(["a1", "a2", "a3"]);
  line.push(B, 1, "b1");
  expect(served(line, 2)).toEqual(["b1", "a4"]);
});

test("two that want as much get as much, whatever the size of their writes", () => {
  const line = new FairLine<string>();
  for (let i = 0; i < 64; i++) line.push(A, 16, "a");
  for (let i = 0; i < 256; i++) line.push(B, 4, "b");
  const first = served(line, 100);
  const blocksOf = (name: string, size: number): number => first.filter((one) => one === name).length * size;
  expect(Math.abs(blocksOf("a", 16) - blocksOf("b", 4))).toBeLessThanOrEqual(16);
});

test("who comes back does not get what it did not ask for before", () => {
  const line = new FairLine<string>();
  for (let i = 0; i < 100; i++) line.push(A, 10, "a");
  served(line, 90);
  for (let i = 0; i < 100; i++) line.push(B, 10, "b");
  const next = served(line, 20);
  expect(next.filter((one) => one === "b")).toHaveLength(10);
});

test("the first of some comes before what is next, as long as any of them waits", () => {
  const line = new FairLine<string>();
  for (const name of ["a1", "a2"]) line.push(A, 1, name);
  line.push(B, 100, "b1");
  const next = (): string => {
    line.first((name) => name.startsWith("b"));
    return served(line, 1)[0]!;
  };
  expect([...line.items()]).toEqual(["a1", "a2", "b1"]);
  expect([next(), next(), next()]).toEqual(["b1", "a1", "a2"]);
});
