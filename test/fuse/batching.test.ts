import { beforeEach, describe, expect, test } from "vitest";
import { Batching, KEPT_BYTES_MAX } from "../../src/fuse/batching.ts";

/** Most requests of a turn. */
const TURN = 32;
let interruptions: number;
let batching: Batching;

beforeEach(() => {
  interruptions = 5000; // of a process that has run before
  batching = new Batching(() => interruptions);
});

interface Load {
  /** Requests that clients have under way at a time. */
  depth: number;
  /** A client's share of our processor: what each departure of answers costs, in interruptions. */
  costs?: number;
  /** Clients work beside us: they have their next request ready when the answer has left and we have served another one. */
  beside?: boolean;
  bytes?: number;
}

interface Outcome {
  departures: number;
  idle: number;
}

/** What answering 100,000 requests of a load comes to. */
function serve({ depth, costs = 0, beside = true, bytes = 4096 }: Load, requests = 100_000): Outcome {
  const outcome = { departures: 0, idle: 0 };
  let waiting = depth;
  let kept = 0;
  /** Answered, and not yet asked for more. */
  let away = 0;
  const depart = (): void => {
    outcome.departures++;
    interruptions += costs;
    away += kept;
    kept = 0;
    if (!beside) comeBack();
  };
  const comeBack = (): void => {
    waiting += away;
    away = 0;
  };
  for (let served = 0; served < requests; ) {
    let inTurn = 0;
    for (; inTurn < TURN && waiting > 0; inTurn++) {
      waiting--;
      kept++;
      if (away > 0 && beside) comeBack();
      if (batching.together === 1 || batching.keep(bytes)) depart();
    }
    served += inTurn;
    batching.served(inTurn, inTurn < TURN);
    if (kept > 0) depart();
    if (waiting > 0) continue;
    outcome.idle++;
    if (inTurn === TURN) batching.served(0, true);
    comeBack();
  }
  return outcome;
}

describe("clients with processors of their own", () => {
  test("one request at a time is answered at once", () => {
    serve({ depth: 1 });
    expect(batching.together).toBe(1);
  });

  test.each([4, 8, 16, 32])("of %d, so many leave together as leave us something to do", (depth) => {
    serve({ depth });
    const settled = serve({ depth });
    expect(settled.departures).toBeLessThan(100_000 / (depth / 4));
    expect(settled.idle).toBeLessThan(100);
  });

  test("more than a turn's never leave together", () => {
    serve({ depth: 500 });
    expect(batching.together).toBe(TURN);
  });

  test("what has changed shows within some thousand requests", () => {
    serve({ depth: 64 });
    serve({ depth: 4 }, 200);
    expect(batching.together).toBeLessThanOrEqual(2);
    serve({ depth: 64 }, 20_000);
    expect(batching.together).toBe(TURN);
  });

  test("answers to large writes do not wait for others", () => {
    serve({ depth: 64 });
    expect(serve({ depth: 64, bytes: KEPT_BYTES_MAX / 4 }).departures).toBe(25_000);
  });
});

describe("clients that share our processor", () => {
  test.each([2, 8, 32])("of %d requests at a time all leave together", (depth) => {
    const { departures } = serve({ depth, costs: 0.75, beside: false });
    expect(departures).toBeLessThan(100_000 / depth + 2000);
  });

  test("one request at a time is answered at once", () => {
    serve({ depth: 1, costs: 1, beside: false });
    expect(batching.together).toBe(1);
  });

  test("that they no longer do shows within some thousand requests", () => {
    serve({ depth: 8, costs: 0.75, beside: false });
    serve({ depth: 8, costs: 0.15 }, 10_000);
    const settled = serve({ depth: 8, costs: 0.15 });
    expect(settled.idle).toBeLessThan(100);
  });
});

test("a loop that turns without any request says nothing", () => {
  serve({ depth: 64 });
  for (let i = 0; i < 1000; i++) batching.served(0, true);
  expect(batching.together).toBe(TURN);
});
