import { expect, test } from "vitest";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Scene } from "./scene.ts";

const SLOT = asSlot(0);
const COMMIT_BLOCKS = 20;
const BLOCKS = 3 * COMMIT_BLOCKS;
const BYTES = BLOCKS * BLOCK_BYTES;

test("ordered: what a punch takes away that is committed with more blocks than one commit holds does not come back", () => {
  const scene = new Scene({
    mode: "ordered",
    files: [{ slot: SLOT, blocks: BLOCKS }],
    commitBlocks: COMMIT_BLOCKS,
  });
  expect(scene.write(SLOT, 0, BLOCKS, 7)).toBe(BYTES);
  const punch = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
  expect(scene.result((done) => scene.volume.allocate(SLOT, punch, 0, BYTES, done))).toBe(0);
  expect(scene.journaling.ledger.commits).toBeGreaterThan(BLOCKS / COMMIT_BLOCKS - 1);
  const { bytes } = scene.recovered().get(SLOT)!;
  expect(bytes.slice(0, BYTES).findIndex((byte) => byte !== 0)).toBe(-1);
});
