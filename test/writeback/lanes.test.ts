import { expect, test } from "vitest";
import { Lanes } from "../../src/writeback/lanes.ts";

test("writes of one kind run beside each other, those of the other kind wait for the last of them", () => {
  const lanes = new Lanes();
  const [a, b, c] = [() => undefined, () => undefined, () => undefined];
  expect([lanes.enter(a, true), lanes.enter(b, true), lanes.enter(c, false)]).toEqual([true, true, false]);
  expect(lanes.leave(true)).toEqual([]);
  expect(lanes.leave(true)).toEqual([c]);
  expect(lanes.enter(c, false)).toBe(true);
});

test("a steady stream of one kind does not starve the other", () => {
  const lanes = new Lanes();
  const [first, odd, second, third] = [() => undefined, () => undefined, () => undefined, () => undefined];
  lanes.enter(first, true);
  lanes.enter(odd, false);
  expect(lanes.enter(second, true)).toBe(false);
  expect(lanes.enter(third, true)).toBe(false);
  expect(lanes.leave(true)).toEqual([odd, second, third]);
  expect([lanes.enter(odd, false), lanes.enter(second, true), lanes.enter(third, true)]).toEqual([true, false, false]);
  expect(lanes.leave(false)).toEqual([second, third]);
});
