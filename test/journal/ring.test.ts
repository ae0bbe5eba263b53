import { expect, test } from "vitest";
import { Ring } from "../../src/journal/ring.ts";

test("a commit lies where the last one ends, or at the beginning where it does not fit", () => {
  const ring = new Ring(10, 4, 8);
  expect(ring.place(1)).toBe(8);
  expect(ring.place(2)).toBe(8); // up to the very end
  expect(ring.place(3)).toBe(0);
});

test("the ring is never filled: full would look empty", () => {
  expect(new Ring(10, 0, 4).place(6)).toBe(-1);
  expect(new Ring(10, 4, 8).place(4)).toBe(-1);
  expect(new Ring(10, 4, 2).place(2)).toBe(-1);
  expect(new Ring(10, 4, 2).place(1)).toBe(2);
});

test("what is skipped at the end counts as used", () => {
  const ring = new Ring(10, 4, 8);
  ring.advance(0, 3);
  expect(ring).toMatchObject({ head: 3, used: 9 });
});
