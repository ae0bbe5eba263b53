import { expect, test } from "vitest";
import { asSlot, BLOCK_BYTES, type FrameNo } from "../../src/base/units.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { PARKED } from "../../src/volume/volume.ts";
import { SimEngine, SimSlab } from "./engine.ts";
import { SimFile, SimHome } from "./home.ts";
import { SimJournal } from "./journal.ts";
import { HEALTHY, ORDERED_RING_BLOCKS } from "./plan.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

const SLOT = asSlot(0);
const COMMIT_BLOCKS = 20;
const BLOCKS = 3 * COMMIT_BLOCKS;
const TURNS_MAX = 1000;

test("ordered: what a punch takes away that is committed with more blocks than one commit holds does not come back", () => {
  const world = new World(new Random(1), false);
  const home = new SimHome();
  const slab = new SimSlab();
  slab.wipe(64);
  const bytes = BLOCKS * BLOCK_BYTES;
  const file = new SimFile(SLOT, bytes, bytes, world, home);
  home.files.set(SLOT, file);
  const journal = new SimJournal(world, home, ORDERED_RING_BLOCKS, COMMIT_BLOCKS);
  const tuning = { dirtyLimit: 0.95, latencyUs: 1000, faults: HEALTHY, lossWindowUs: 1e9 } as const;
  const engine = new SimEngine(world, home, slab, { ...tuning, mode: "ordered", device: "ssd" }, journal);
  const { volume } = engine;
  const taken = new Int32Array(BLOCKS);
  expect(volume.cache.allocator.ready()).toBe(true);
  volume.cache.allocator.take(BLOCKS, taken);
  for (const frame of taken as unknown as FrameNo[]) {
    const at = slab.slab.frameIndex(frame);
    slab.slab.frameView(frame).fill(7, at, at + BLOCK_BYTES);
  }
  const answers: number[] = [];
  const written = volume.write(SLOT, 0, bytes, taken, () => (result) => answers.push(result));
  expect([PARKED, bytes]).toContain(written);

  volume.allocate(SLOT, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, 0, bytes, (result) => answers.push(result));
  for (let turns = 0; !answers.includes(0) && turns < TURNS_MAX; turns++) engine.turn(world.nowUs() + 1000);
  expect(answers).toContain(0);
  expect(volume.journaling!.ledger.commits).toBeGreaterThan(BLOCKS / COMMIT_BLOCKS - 1);

  const left = { bytes: file.now.copy(), size: file.size };
  journal.recover(new Map([[SLOT, left]]), journal.file.durable.copy());
  expect(left.bytes.slice(0, bytes).findIndex((byte) => byte !== 0)).toBe(-1);
});
