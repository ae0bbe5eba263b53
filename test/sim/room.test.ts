/** Changes of shape and the journal: which of them a transaction has, and what happens when there is no room for one. */
import { describe, expect, test } from "vitest";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { Scene } from "./scene.ts";

describe("ordered: of more truncates than one transaction takes, one that waits for the second", () => {
  const slots = Array.from({ length: 40 }, (_, i) => asSlot(i));
  const last = slots.at(-1)!;

  /** The last image is 11 blocks long, and at home 2; the cut of it waits for a second transaction, which is never written. */
  function waiting(): Scene {
    const files = slots.map((slot) => ({ slot, blocks: 2 }));
    const scene = new Scene({ mode: "ordered", files, ringBlocks: 8000 });
    const { journal } = scene.journaling;
    for (const slot of slots) scene.volume.open(slot);
    scene.write(last, 10, 1, 7);
    let transactions = 0;
    const commit = journal.commit.bind(journal);
    journal.commit = (batch, done) => {
      if (++transactions === 1) commit(batch, done);
    };
    for (const slot of slots) scene.volume.truncate(slot, 0, () => undefined);
    scene.until("the first is there", () => transactions === 2);
    return scene;
  }

  test("is not half in the first", () => {
    const { size, bytes } = waiting().recovered().get(last)!;
    expect([size, bytes.byte(10 * BLOCK_BYTES)]).toEqual([11 * BLOCK_BYTES, 7]);
  });
});
