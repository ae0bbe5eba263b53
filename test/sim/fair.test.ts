import { expect, test } from "vitest";
import { asSlot, BLOCK_BYTES, type InodeSlot } from "../../src/base/units.ts";
import { Scene } from "./scene.ts";

const [FLOODED, OTHER] = [asSlot(0), asSlot(1)];
const FLOOD = 12;
const FLOOD_BLOCKS = 64;

test.for(["volatile", "sync", "ordered"] as const)(
  "%s: a guest's write does not wait for a flood of another's (fault 50)",
  (mode) => {
    const files = [FLOODED, OTHER].map((slot) => ({ slot, blocks: FLOOD * FLOOD_BLOCKS }));
    const scene = new Scene({ mode, files, dirtyLimit: 0.05, latencyUs: 5000, lossWindowUs: 1e6 });
    const answered: InodeSlot[] = [];
    const write = (slot: InodeSlot, first: number, blocks: number): void =>
      scene.beginWrite(slot, first, blocks, 7, (result) => {
        expect(result).toBe(blocks * BLOCK_BYTES);
        answered.push(slot);
      });
    for (let i = 0; i < FLOOD; i++) write(FLOODED, i * FLOOD_BLOCKS, FLOOD_BLOCKS);
    const before = answered.length;
    expect(before).toBeLessThan(FLOOD / 2);
    write(OTHER, 0, 1);
    scene.until("all are answered", () => answered.length > FLOOD);
    expect(answered.indexOf(OTHER)).toBeLessThanOrEqual(before + 1);
  },
);
