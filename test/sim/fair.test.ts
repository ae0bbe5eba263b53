import { expect, test } from "vitest";
import { asSlot, BLOCK_BYTES, type InodeSlot } from "../../src/base/units.ts";
import { COMMIT_FRAMES_MAX } from "../../src/journal/layout.ts";
import { SimEngine, SimSlab } from "./engine.ts";
import { SimFile, SimHome } from "./home.ts";
import { SimJournal } from "./journal.ts";
import { HEALTHY, ORDERED_RING_BLOCKS } from "./plan.ts";
import { Random } from "./random.ts";
import { World } from "./world.ts";

const [FLOODED, OTHER] = [asSlot(0), asSlot(1)];
const FLOOD = 12;
const FLOOD_BLOCKS = 64;
const TURNS_MAX = 20_000;

test.for(["volatile", "sync", "ordered"] as const)(
  "%s: a guest's write does not wait for a flood of another's (fault 50)",
  (mode) => {
    const world = new World(new Random(1), false);
    const home = new SimHome();
    const slab = new SimSlab();
    slab.wipe(64);
    const bytes = FLOOD * FLOOD_BLOCKS * BLOCK_BYTES;
    for (const slot of [FLOODED, OTHER]) home.files.set(slot, new SimFile(slot, bytes, bytes, world, home));
    const journal = new SimJournal(world, home, ORDERED_RING_BLOCKS, COMMIT_FRAMES_MAX);
    const tuning = { dirtyLimit: 0.05, latencyUs: 5000, faults: HEALTHY, lossWindowUs: 1e6, device: "ssd" } as const;
    const engine = new SimEngine(world, home, slab, { ...tuning, mode }, journal);
    const { volume } = engine;
    const answered: InodeSlot[] = [];
    const write = (slot: InodeSlot, offset: number, blocks: number): void => {
      const taken = new Int32Array(blocks);
      expect(volume.cache.allocator.ready()).toBe(true);
      volume.cache.allocator.take(blocks, taken);
      const length = blocks * BLOCK_BYTES;
      const done = (result: number): void => {
        expect(result).toBe(length);
        answered.push(slot);
      };
      if (volume.write(slot, offset, length, taken, () => done) === length) done(length);
    };
    for (let i = 0; i < FLOOD; i++) write(FLOODED, i * FLOOD_BLOCKS * BLOCK_BYTES, FLOOD_BLOCKS);
    const before = answered.length;
    expect(before).toBeLessThan(FLOOD / 2);
    write(OTHER, 0, 1);
    for (let turns = 0; answered.length <= FLOOD && turns < TURNS_MAX; turns++) engine.turn(world.nowUs() + 10_000);
    expect(answered).toHaveLength(FLOOD + 1);
    expect(answered.indexOf(OTHER)).toBeLessThanOrEqual(before + 1);
  },
);
