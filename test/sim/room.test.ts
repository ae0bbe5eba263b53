/** Changes of shape and the journal: which of them a transaction has, and what happens when there is no room for one. */
import { describe, expect, test } from "vitest";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { FrameState } from "../../src/cache/frames.ts";
import { Scene } from "./scene.ts";
import { Killed } from "./sim-io.ts";

const A = asSlot(0);

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

describe("ordered: an engine that is killed between an image's new size and the write's first block", () => {
  /** A is 4 blocks long at the last instant. */
  function killed(): Scene {
    const scene = new Scene({ mode: "ordered", files: [{ slot: A, blocks: 4 }], lossWindowUs: 50_000 });
    scene.write(A, 0, 1, 7);
    scene.pass(1e6);
    const { frames } = scene.volume.cache;
    const setState = frames.setState.bind(frames);
    frames.setState = (frame, state) => {
      if (state === FrameState.dirty) throw new Killed();
      setState(frame, state);
    };
    expect(() => scene.write(A, 100, 1, 9)).toThrow(Killed);
    scene.restart();
    return scene;
  }

  const sizes = (scene: Scene): unknown[] => [scene.volume.open(A), scene.recovered().get(A)];

  test("leaves it as long as it was", () => {
    const scene = killed();
    scene.pass(1e6);
    const size = 4 * BLOCK_BYTES;
    expect(sizes(scene)).toMatchObject([{ size, homeSize: size }, { size }]);
  });

  test("keeps nothing that comes later from being written there", () => {
    const scene = killed();
    scene.write(A, 50, 1, 8);
    scene.pass(1e6);
    const size = 51 * BLOCK_BYTES;
    expect(sizes(scene)).toMatchObject([{ size, homeSize: size }, { size }]);
  });
});
