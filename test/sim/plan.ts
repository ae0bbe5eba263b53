/** What a seed makes of a history: how large, what is asked for how often, what goes wrong. Each seed differs in kind (swarm). */
import { BLOCK_BYTES } from "../../src/base/units.ts";
import { COMMIT_FRAMES_MAX } from "../../src/journal/layout.ts";
import { DAMAGES, type Damage } from "./damage.ts";
import { Random } from "./random.ts";
import type { Faults } from "./sim-io.ts";

export const KINDS = [
  "write",
  "read",
  "flush",
  "truncate",
  "punch",
  "zero",
  "allocate",
  "copy",
  "seek",
  "discard",
  "drain",
  "clean",
  "mtime",
  "setting",
] as const;
export type Kind = (typeof KINDS)[number];

export interface Plan {
  images: number;
  /** Bytes of the largest image. */
  capacity: number;
  requests: number;
  depth: number;
  thinkUs: number;
  latencyUs: number;
  dirtyLimit: number;
  weights: Record<Kind, number>;
  /** Share of the writes that lie in whole blocks, in whole sectors, anywhere. */
  grain: [number, number, number];
  longestWrite: number;
  hotBlocks: number;
  faults: Faults;
  /** Chance of a kill before each request. */
  kills: number;
  /** Chance that a kill takes the client too, with its requests. */
  clientDies: number;
  /** The host loses power in the end. */
  powerCut: boolean;
  /** What happens to the journal then. */
  damage: Damage | undefined;
  /** Blocks that the disk has free; Infinity: plenty. */
  freeBlocks: number;
  /** What flushes promise; ring blocks of the journal, 0: there is none. */
  mode: "sync" | "ordered" | "volatile";
  ringBlocks: number;
  lossWindowUs: number;
  device: "hdd" | "ssd";
  /** Most blocks of one commit: with few, a transaction is of several. */
  commitBlocks: number;
  /** Images are copied in: many writes are at their ends. */
  grows: boolean;
  /** Or are as long as they will be from the start, and all hole: many writes come one behind the other. */
  fills: boolean;
  /** The device of all images but the first hangs now and then, for longer than a stall. */
  stalls: boolean;
  /** When faults cease: a request's number. */
  healthyFrom: number;
}

export const HEALTHY: Faults = {
  writeError: 0,
  flushError: 0,
  readError: 0,
  shapeError: 0,
  short: 0,
  refusesDirect: 0,
};

/** With fewer, descriptors take more of the smallest ring than there is. */
const COMMIT_BLOCKS_MIN = 20;

/** What is drawn by itself: it came later, and the rest of a history is from its seed as it was before. */
export type Drawn = Pick<Plan, "commitBlocks" | "grows" | "stalls">;

/** What the history of `seed` has of it; its commits are in three of four as large as they really are. */
export function drawnOf(seed: number): Drawn {
  const random = new Random(seed + 0.5 * 2 ** 32);
  const isSmall = random.chance(0.25);
  const commitBlocks = isSmall ? random.between(COMMIT_BLOCKS_MIN, 3 * COMMIT_BLOCKS_MIN) : COMMIT_FRAMES_MAX;
  const grows = new Random(seed + 0.25 * 2 ** 32).chance(0.1);
  const stalls = new Random(seed + 0.125 * 2 ** 32).chance(0.08);
  return { commitBlocks, grows, stalls };
}

export function planOf(random: Random, drawn: Drawn): Plan {
  const plan = kindOfPlan(random, drawn);
  return plan.stalls ? stalling(plan, random) : plan;
}

function kindOfPlan(random: Random, drawn: Drawn): Plan {
  const plan = { ...ordinaryPlan(random), ...drawn, fills: false };
  const kind = random.below(10);
  if (plan.grows) return growing(plan, random);
  if (kind === 0) return distressed(plan, random);
  if (kind === 1) return churning(plan);
  return kind === 2 ? riddled(plan, random) : plan;
}

/** Images are copied in, in `ordered`. */
function growing(plan: Plan, random: Random): Plan {
  const { weights } = plan;
  const rarely = random.pick([0, 0, 0.05, 0.3]); // a change of shape keeps images from going home ahead of the journal for a while
  return {
    ...plan,
    fills: random.chance(0.5),
    capacity: GROWN_BLOCKS * BLOCK_BYTES,
    weights: { ...weights, write: 6, truncate: rarely, punch: rarely, zero: 0, drain: random.pick([0, 0, 0.2]) },
    grain: [3, 1, 0.1],
    longestWrite: random.pick([40_000, 2 ** 18]),
    hotBlocks: random.pick([3, GROWN_BLOCKS]),
    dirtyLimit: random.pick([0.1, 0.3, 0.8, 0.95]),
    powerCut: random.chance(0.7),
    mode: random.chance(0.9) ? "ordered" : plan.mode,
    ringBlocks: random.pick([1, 2, 2]) * ORDERED_RING_BLOCKS + random.magnitude(1500),
  };
}

/** So slow that stalls are in the middle of it, and nearly all of it writes: small ones of many runs, or large ones that fill the cache. */
function stalling(plan: Plan, random: Random): Plan {
  const floods = random.chance(0.4);
  const longestWrite = floods ? 2 ** 30 : random.pick([600, 40_000]); // those longer than the largest are of that
  const blocks = floods ? FLOODED_BLOCKS : 96;
  const journal = journalOf(random, Math.min(longestWrite, 2 ** 20), plan.weights.setting > 0);
  const isOrdered = journal.mode === "ordered" || plan.weights.setting > 0;
  return {
    ...plan,
    ...journal,
    ringBlocks: journal.ringBlocks > 0 && isOrdered ? journal.ringBlocks + SPARE_BLOCKS : journal.ringBlocks,
    images: 3,
    capacity: blocks * BLOCK_BYTES,
    longestWrite,
    hotBlocks: blocks,
    thinkUs: random.pick([20_000, 200_000, 2_000_000]),
    depth: random.between(4, 24),
    dirtyLimit: random.pick([0.1, 0.3, 0.8, 0.95, 0.95]),
    weights: { ...plan.weights, write: 8 },
  };
}

/** Goes round the journal's ring. */
function churning(plan: Plan): Plan {
  return {
    ...plan,
    requests: 100,
    capacity: 96 * BLOCK_BYTES,
    weights: { ...plan.weights, write: 8, flush: 1 },
    longestWrite: 96 * BLOCK_BYTES,
    hotBlocks: 96,
    ringBlocks: plan.ringBlocks === 0 ? 0 : ORDERED_RING_BLOCKS,
  };
}

/** Pieces of few blocks, and holes in them. */
function riddled(plan: Plan, random: Random): Plan {
  return {
    ...plan,
    weights: { ...plan.weights, write: 2, flush: 1, truncate: random.pick([0, 0.5]), punch: 0.5, zero: 0.5 },
    grain: [0, 2, 2],
    longestWrite: 600,
    hotBlocks: random.between(1, 3),
  };
}

/** Few blocks, written again and again, on a slow device that loses what a flush was for. */
function distressed(plan: Plan, random: Random): Plan {
  const flushError = random.pick([0.3, 0.6]);
  return {
    ...plan,
    images: 1,
    latencyUs: random.between(2000, 50_000),
    weights: { ...plan.weights, flush: Math.max(plan.weights.flush, 0.5 + random.magnitude(8) / 4) },
    hotBlocks: random.between(1, 3),
    faults: { ...plan.faults, flushError, shapeError: 0.2 },
  };
}

function ordinaryPlan(random: Random): Omit<Plan, keyof Drawn | "fills"> {
  const often = (): number => (random.chance(0.4) ? 0 : random.magnitude(8) / 8);
  const isLarge = random.chance(0.15);
  const blocks = isLarge ? 700 : random.pick([2, 6, 24, 96]);
  const requests = random.between(15, isLarge ? 60 : 120);
  const weights = weightsOf(random, often);
  const longestWrite = isLarge ? 2 ** 20 : random.pick([600, 5000, 40_000, blocks * BLOCK_BYTES]);
  return {
    images: random.between(1, 3),
    capacity: blocks * BLOCK_BYTES,
    requests,
    depth: random.magnitude(isLarge ? 24 : 12),
    thinkUs: random.magnitude(2000),
    latencyUs: random.magnitude(5000),
    dirtyLimit: random.pick([0.05, 0.05, 0.1, 0.3, 0.8, 0.95]),
    weights,
    grain: [random.below(4), random.below(4), random.below(4) + 0.1],
    longestWrite,
    hotBlocks: random.pick([1, 3, blocks, blocks]),
    faults: random.chance(0.5) ? HEALTHY : faultsOf(random),
    kills: random.chance(0.5) ? 0 : 0.05,
    clientDies: random.pick([0, 0.3]),
    powerCut: random.chance(0.4),
    damage: random.chance(0.25) ? random.pick(DAMAGES) : undefined,
    freeBlocks: random.chance(0.1) ? random.between(blocks, blocks * 3) : Number.POSITIVE_INFINITY,
    ...journalOf(random, longestWrite, weights.setting > 0),
    healthyFrom: random.between(requests / 2, requests),
  };
}

function weightsOf(random: Random, often: () => number): Record<Kind, number> {
  const rare = (): number => (random.chance(0.6) ? 0 : 0.05 + random.magnitude(4) / 20);
  return {
    write: 2 + often() * 4,
    read: 0.3 + often() * 2,
    flush: often(),
    truncate: rare(),
    punch: rare(),
    zero: rare(),
    allocate: rare(),
    copy: rare(),
    seek: rare(),
    discard: rare() / 4,
    drain: rare() / 2,
    clean: rare() / 2,
    mtime: rare() / 2,
    setting: rare(),
  };
}

/** The smallest ring in which `ordered` admits writes: one sixth uncommitted and the largest write, twice, and what bounds those. */
export const ORDERED_RING_BLOCKS = 960;

/** What it is longer by when images lie on several devices: what hangs may be committed once more. */
const SPARE_BLOCKS = 2300;

/** More than may wait to go home, by far. */
const GROWN_BLOCKS = 700;

/** Two images of them are more than may be dirty. */
const FLOODED_BLOCKS = 1000;

/** One sixth of it is more than one commit holds. */
const TRANSACTION_OF_MANY = 5000;

/** A small ring is gone round often, and is full at times. */
function journalOf(
  random: Random,
  longestWrite: number,
  isSwitched: boolean,
): Pick<Plan, "mode" | "ringBlocks" | "lossWindowUs" | "device"> {
  const mode = random.pick(["sync", "sync", "ordered", "ordered", "volatile"] as const);
  const smallest =
    mode === "ordered" || isSwitched ? ORDERED_RING_BLOCKS : 200 + 2 * Math.ceil(longestWrite / BLOCK_BYTES + 1);
  const fits = smallest + random.magnitude(1500);
  const ringBlocks = random.chance(0.15)
    ? 0
    : longestWrite === 2 ** 20 && random.chance(0.5)
      ? TRANSACTION_OF_MANY
      : fits;
  return {
    ringBlocks,
    mode: ringBlocks === 0 && mode === "ordered" ? "sync" : mode,
    lossWindowUs: random.pick([1000, 20_000, 1_000_000]),
    device: random.pick(["hdd", "ssd"]),
  };
}

const faultsOf = (random: Random): Faults => {
  const rate = (): number => (random.chance(0.5) ? 0 : random.pick([0.02, 0.1, 0.5]));
  return {
    writeError: rate(),
    flushError: rate(),
    readError: rate() / 2,
    shapeError: rate() / 2,
    short: rate(),
    refusesDirect: random.chance(0.2) ? 0.05 : 0,
  };
};

/** What is left of a plan's faults once they have ceased: I/O may still be short. */
export const ceased = (faults: Faults): Faults => ({ ...HEALTHY, short: faults.short / 2 });
