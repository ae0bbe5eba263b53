import { beforeEach, expect, test } from "vitest";
import { Batching } from "../../src/fuse/batching.ts";

const REQUESTS = 100_000;
let interruptions: number;
let batching: Batching;

beforeEach(() => {
  interruptions = 5000; // of a process that has run before
  batching = new Batching(() => interruptions);
});

/** The share of REQUESTS, so many a turn, whose answers leave together. Each that leaves at once costs so many interruptions. */
function shareKept(perTurn: number, isFull: boolean, costs: number): number {
  let kept = 0;
  for (let served = 0; served < REQUESTS; served += perTurn) {
    if (batching.keeps) kept += perTurn;
    else interruptions += perTurn * costs;
    batching.served(perTurn, isFull);
  }
  return kept / REQUESTS;
}

test("a client with one request at a time gets its answers at once, wherever it runs", () => {
  expect(shareKept(1, false, 0)).toBeLessThan(0.001);
  expect(shareKept(1, false, 1)).toBeLessThan(0.001);
});

test("answers to some requests at a time leave at once while their clients have processors of their own", () => {
  expect(shareKept(8, false, 0.15)).toBeLessThan(0.01);
});

test("answers leave together where each that does not costs us the processor", () => {
  expect(shareKept(2, false, 0.75)).toBeGreaterThan(0.9);
});

test("answers leave together while there is always more to do", () => {
  expect(shareKept(32, true, 0)).toBeGreaterThan(0.99);
});

test("what has changed shows within some thousand requests", () => {
  shareKept(8, false, 0.15);
  expect(shareKept(32, true, 0)).toBeGreaterThan(0.95);
  expect(shareKept(8, false, 0.15)).toBeLessThan(0.01);
  expect(shareKept(8, false, 0.75)).toBeGreaterThan(0.9);
  expect(shareKept(8, false, 0.15)).toBeLessThan(0.1);
});

test("a turn without any request says nothing", () => {
  shareKept(32, true, 0);
  batching.served(0, false);
  expect(batching.keeps).toBe(true);
});
