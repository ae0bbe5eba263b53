import { expect, test } from "vitest";
import { BLOCK_BYTES, type InodeSlot } from "../../src/base/units.ts";
import { COMMIT_FRAMES_MAX } from "../../src/journal/layout.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { PARKED } from "../../src/volume/volume.ts";
import { SimEngine, SimSlab } from "./engine.ts";
import { SimFile, SimHome } from "./home.ts";
import { SimJournal } from "./journal.ts";
import { HEALTHY, ORDERED_RING_BLOCKS } from "./plan.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

const SLOT = 0 as InodeSlot;
/** Together more blocks than the ring has. */
const WRITES = 8;
const BLOCKS = 128;
const TURNS_MAX = 10_000;

test("ordered: writes that wait behind a punch do not come in together when the journal has no room for them", () => {
  const world = new World(new Random(1), false);
  const home = new SimHome();
  const slab = new SimSlab();
  slab.wipe(64);
  const size = WRITES * BLOCKS * BLOCK_BYTES;
  home.files.set(SLOT, new SimFile(SLOT, size, size, world, home));
  const journal = new SimJournal(world, home, ORDERED_RING_BLOCKS, COMMIT_FRAMES_MAX);
  const tuning = { dirtyLimit: 0.95, latencyUs: 1000, faults: HEALTHY, lossWindowUs: 1e6 } as const;
  const engine = new SimEngine(world, home, slab, { ...tuning, mode: "ordered", device: "ssd" }, journal);
  const { volume } = engine;

  const answers: number[] = [];
  volume.allocate(SLOT, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 0, BLOCK_BYTES, (result) => answers.push(result));
  for (let i = 0; i < WRITES; i++) {
    const taken = new Int32Array(BLOCKS);
    expect(volume.cache.allocator.ready()).toBe(true);
    volume.cache.allocator.take(BLOCKS, taken);
    const bytes = BLOCKS * BLOCK_BYTES;
    const result = volume.write(SLOT, i * bytes, bytes, taken, () => (later) => answers.push(later));
    expect(result).toBe(PARKED);
  }
  let most = 0;
  for (let turns = 0; answers.length < 1 + WRITES && turns < TURNS_MAX; turns++) {
    engine.turn(world.nowUs() + 10_000);
    most = Math.max(most, volume.cache.commits.uncommitted);
  }
  expect(answers.toSorted((a, b) => a - b)).toEqual([0, ...Array.from({ length: WRITES }, () => BLOCKS * BLOCK_BYTES)]);
  expect(most).toBeLessThan(ORDERED_RING_BLOCKS / 2);
});
