/** Changes of shape and the journal: which of them a transaction has, and what happens when there is no room for one. */
import { describe, expect, test } from "vitest";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { FrameState } from "../../src/cache/frames.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Scene } from "./scene.ts";
import { Killed } from "./sim-io.ts";

const [A, C] = [asSlot(0), asSlot(1)];
const FILES = [A, C].map((slot) => ({ slot, blocks: 900 }));
const PUNCH = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;

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

/** Changes A's shape `times` times, `depth` at a time, by what `change` does the nth time. How many of them are answered, however long that takes. */
function changeOften(
  scene: Scene,
  times: number,
  depth: number,
  change: (n: number, done: (result: number) => void) => void,
): number {
  let begun = 0;
  const answers: number[] = [];
  const next = (): void => {
    if (begun === times) return;
    change(begun++, (result) => {
      answers.push(result);
      next();
    });
  };
  for (let i = 0; i < depth; i++) next();
  for (let minutes = 0; answers.length < times && minutes < 100; minutes++) scene.pass(60e6);
  return answers.filter((answer) => answer === 0).length;
}

describe("changes of shape that go round the journal several times, beside a few dirty blocks of their image, all end", () => {
  test.for([
    [960, 1],
    [960, 2],
    [960, 8],
    [4096, 1],
    [4096, 4],
  ] as const)("ordered: punches, with a ring of %d, %d at a time", ([ringBlocks, depth]) => {
    const scene = new Scene({ mode: "ordered", files: FILES, ringBlocks, lossWindowUs: 50_000, latencyUs: 100 });
    for (let i = 0; i < 10; i++) scene.write(A, 850 + i, 1, 7);
    scene.pass(200_000);
    const times = 2 * ringBlocks;
    const done = changeOften(scene, times, depth, (n, punched) =>
      scene.volume.allocate(A, PUNCH, (n % 400) * 2 * BLOCK_BYTES, BLOCK_BYTES, punched),
    );
    expect(done).toBe(times);
    expect(scene.write(A, 0, 1, 9)).toBe(BLOCK_BYTES);
  });

  test("sync: truncates that each take a byte", () => {
    const scene = new Scene({ mode: "sync", files: FILES, ringBlocks: 4096, latencyUs: 100 });
    for (let i = 0; i < 10; i++) scene.write(A, 2 * i, 1, 7);
    expect(scene.flush(A)).toBe(0);
    const done = changeOften(scene, 6000, 1, (n, cut) => scene.volume.truncate(A, 800 * BLOCK_BYTES - n, cut));
    expect(done).toBe(6000);
  });
});

/** Home writes of A take `us` until the function that is returned is called. */
function slow(scene: Scene, us: number): () => void {
  const { io } = scene;
  const writev = io.writev.bind(io);
  io.writev = (fd, ...call) => scene.after(scene.home.file(fd).slot === A ? us : 0, () => writev(fd, ...call));
  return () => {
    io.writev = writev;
  };
}

test.for(["ordered", "sync"] as const)(
  "%s: a change of shape that finds the journal full does not keep its image from going home",
  (mode) => {
    const scene = new Scene({ mode, files: FILES, ringBlocks: 4096, latencyUs: 100, lossWindowUs: 50_000 });
    const mend = slow(scene, 600e6);
    for (let block = 0; block < 80; block += 2) scene.write(A, block, 1, 7);
    for (const block of [800, 802]) scene.write(C, block, 1, 7);
    if (mode === "sync") for (const slot of [A, C]) expect(scene.flush(slot)).toBe(0);
    scene.pass(200_000);
    // C is changed, one request after the other, while a checkpoint waits for A's device.
    const answers: number[] = [];
    const next = (): void => {
      const { length } = answers;
      const end = (result: number): void => {
        answers.push(result);
        scene.after(200, next);
      };
      if (mode === "sync") scene.volume.truncate(C, 900 * BLOCK_BYTES - 1 - length, end);
      else scene.volume.allocate(C, PUNCH, ((2 * length) % 800) * BLOCK_BYTES, BLOCK_BYTES, end);
    };
    next();
    for (let before = -1; before !== answers.length; scene.pass(2e6)) before = answers.length;
    const changed: number[] = [];
    const end = (result: number): void => void changed.push(result);
    if (mode === "sync") scene.volume.truncate(A, 300 * BLOCK_BYTES, end);
    else scene.volume.allocate(A, PUNCH, 200 * BLOCK_BYTES, BLOCK_BYTES, end);
    scene.pass(1e6);
    mend();
    for (let i = 0; i < 1200 && changed.length === 0; i++) scene.pass(1e6);
    expect(changed).toEqual([0]);
  },
);

test("ordered: punches that leave edges of committed blocks do not fill the journal for ever", () => {
  const scene = new Scene({ mode: "ordered", files: FILES, ringBlocks: 4096, latencyUs: 100, lossWindowUs: 50_000 });
  const { journal } = scene.journaling;
  const mend = slow(scene, 600e6);
  for (let block = 0; block < 80; block += 2) scene.write(A, block, 1, 7);
  scene.pass(200_000);
  // C is trimmed while a checkpoint waits for A's device, until there is room for one more punch and not for what it leaves.
  const answers: number[] = [];
  const next = (): void => {
    if (journal.blocks - journal.usedBlocks > 45)
      scene.volume.allocate(C, PUNCH, ((2 * answers.length) % 800) * BLOCK_BYTES, BLOCK_BYTES, (result) => {
        answers.push(result);
        scene.after(1, next);
      });
  };
  next();
  for (let before = -1; before !== answers.length; scene.pass(2e6)) before = answers.length;
  const punched: number[] = [];
  scene.volume.allocate(A, PUNCH, 78 * BLOCK_BYTES + 512, 512, (result) => punched.push(result));
  scene.pass(1e6);
  mend();
  const answered: number[] = [];
  scene.beginWrite(C, 0, 1, 9, (result) => answered.push(result));
  for (let i = 0; i < 1800 && punched.length + answered.length < 2; i++) scene.pass(1e6);
  expect({ punched, answered }).toEqual({ punched: [0], answered: [BLOCK_BYTES] });
});
