/** Images that are copied in, in `ordered`: what is beyond the end of the last instant goes home ahead of the journal. */
import { describe, expect, test } from "vitest";
import { asSlot, BLOCK_BYTES, type InodeSlot } from "../../src/base/units.ts";
import type { Image } from "../../src/cache/images.ts";
import { Counter } from "../../src/stats/counters.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Scene, type SceneOptions } from "./scene.ts";

const A = asSlot(0);
const B = asSlot(1);
const BOTH = [
  { slot: A, blocks: 0 },
  { slot: B, blocks: 8 },
];
const BLOCKS = 800;
const TOGETHER = 20;
const WINDOW_US = 50_000;
/** Between two writes. */
const THINK_US = 300;

const made = (options: Partial<SceneOptions> = {}): Scene =>
  new Scene({ mode: "ordered", files: BOTH, latencyUs: 100, lossWindowUs: WINDOW_US, ringBlocks: 4096, ...options });

const fillOf = (block: number): number => 1 + Math.floor(block / TOGETHER);

/** Writes blocks `from` to `to` - 1 of A, one piece after the other. */
function append(scene: Scene, from: number, to: number): void {
  for (let at = from; at < to; at += TOGETHER) {
    expect(scene.write(A, at, TOGETHER, fillOf(at))).toBe(TOGETHER * BLOCK_BYTES);
    scene.pass(THINK_US);
  }
}

const imageOf = (scene: Scene, slot: InodeSlot): Image => scene.volume.open(slot) as Image;

/** Blocks of A after a power cut: it has them up to its end, and no more. */
function blocksAfterCut(scene: Scene): number {
  const { bytes, size } = scene.recovered().get(A)!;
  const blocks = size / BLOCK_BYTES;
  for (let at = 0; at < blocks; at++) expect(bytes.byte(at * BLOCK_BYTES + 7), `block ${at}`).toBe(fillOf(at));
  return blocks;
}

/** Until home is longer than the journal says. */
function getAhead(scene: Scene): number {
  let at = 0;
  const file = scene.home.files.get(A)!;
  while (file.durableSize <= blocksAfterCut(scene) * BLOCK_BYTES && at < BLOCKS) {
    append(scene, at, at + TOGETHER);
    at += TOGETHER;
  }
  expect(at, "home is ahead").toBeLessThan(BLOCKS);
  return at;
}

test("are written once, but for what makes them known", () => {
  const scene = made({ lossWindowUs: 1e9 });
  append(scene, 0, BLOCKS);
  scene.pass(1e6);
  const journalled = scene.engine.counters.at[Counter.journalBytes]! / BLOCK_BYTES;
  expect(journalled).toBeLessThan(BLOCKS / 8);
  const { uncommitted } = scene.volume.cache.commits;
  expect(scene.home.files.get(A)!.durableSize).toBeGreaterThanOrEqual((BLOCKS - uncommitted) * BLOCK_BYTES);
});

test("show one instant after a cut at any moment, none older than the window", () => {
  const scene = made();
  for (let at = 0; at < BLOCKS; at += TOGETHER) {
    append(scene, at, at + TOGETHER);
    blocksAfterCut(scene);
  }
  scene.pass(2 * WINDOW_US);
  expect(blocksAfterCut(scene)).toBe(BLOCKS);
});

test("do not let go of the journal's word on their end until it is of no use", () => {
  const scene = made();
  getAhead(scene);
  const { ledger, durability } = scene.journaling;
  expect(ledger.exact.size).toBe(1);
  scene.pass(4 * WINDOW_US); // nothing more comes: the end is known
  expect([ledger.exact.size, imageOf(scene, A).extension.isOpen]).toEqual([0, false]);
  expect(durability.isBroken).toBe(false);
  expect(scene.result((done) => scene.journaling.checkpoint.all(done))).toBe(0);
  expect(ledger.isEmpty).toBe(true);
});

test("keep the commit that tells their end in the journal, whoever wants room there", () => {
  const scene = made({ lossWindowUs: 1e9 });
  getAhead(scene);
  const before = blocksAfterCut(scene);
  scene.journaling.checkpoint.makeRoom();
  scene.pass(3e6);
  expect(scene.journaling.ledger.commits).toBeGreaterThan(0);
  expect(blocksAfterCut(scene)).toBe(before);
});

test("hold up only who writes them when home is slow", () => {
  const scene = made({ lossWindowUs: 1e9 });
  append(scene, 0, getAheadOfSlowHome(scene));
  const image = imageOf(scene, A);
  const answers: string[] = [];
  for (let at = 0; !scene.journaling.durability.isHeld(image, image.size, Number.POSITIVE_INFINITY); at += TOGETHER)
    append(scene, 400 + at, 420 + at);
  scene.beginWrite(A, 700, TOGETHER, 3, () => answers.push("A"));
  scene.beginWrite(B, 0, 1, 3, () => answers.push("B"));
  expect(answers).toEqual(["B"]);
  scene.pass(3e6);
  expect(answers).toEqual(["B", "A"]);
});

function getAheadOfSlowHome(scene: Scene): number {
  const end = getAhead(scene);
  scene.slowWrites(A, 1e6);
  return end - (end % TOGETHER);
}

test("go home once more when they are written again on their way", () => {
  const scene = made({ lossWindowUs: 1e9 });
  const end = getAheadOfSlowHome(scene);
  append(scene, end, end + 2 * TOGETHER); // enough to go together
  scene.until("they are on their way", () => imageOf(scene, A).homeWrites > 0);
  append(scene, end, end + 2 * TOGETHER);
  scene.pass(10e6);
  expect(scene.volume.cache.commits.uncommitted).toBeLessThan(TOGETHER);
});

describe("no longer go ahead", () => {
  test("when home refuses them: writers go on", () => {
    const scene = made({ lossWindowUs: 1e9 });
    const end = getAhead(scene);
    const mend = scene.failFlushes(A);
    const later = end + 12 * TOGETHER; // more than may wait to go home
    append(scene, end, later);
    expect(imageOf(scene, A).extension.isOpen).toBe(false);
    mend();
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(blocksAfterCut(scene)).toBe(later);
  });

  test("while the journal has a change of their shape that is not on stable media at home", () => {
    const scene = made();
    const { io } = scene;
    const fsync = io.fsync.bind(io);
    io.fsync = (fd, ...call) => {
      if (scene.home.file(fd).slot === A) scene.after(1e9, () => fsync(fd, ...call));
      else fsync(fd, ...call);
    };
    append(scene, 0, 5 * TOGETHER);
    const punch = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
    expect(scene.result((done) => scene.volume.allocate(A, punch, BLOCKS * BLOCK_BYTES, BLOCK_BYTES, done))).toBe(0);
    append(scene, 5 * TOGETHER, BLOCKS / 2);
    expect(imageOf(scene, A).extension.isOpen).toBe(false);
    blocksAfterCut(scene);
  });

  test("after another mode has begun", () => {
    const scene = made();
    const end = getAhead(scene);
    expect(scene.result((done) => scene.volume.setDurability("sync", done))).toBe(0);
    append(scene, end, BLOCKS);
    expect(imageOf(scene, A).extension.isOpen).toBe(false);
    expect(scene.flush(A)).toBe(0);
    expect(blocksAfterCut(scene)).toBe(BLOCKS);
  });
});

test("are kept by a drain, which a power cut does not take back", () => {
  const scene = made({ lossWindowUs: 1e9 });
  let end = getAhead(scene);
  const { commits } = scene.volume.cache;
  for (; commits.uncommitted > 0; end += TOGETHER) {
    append(scene, end, end + TOGETHER); // until as many are together as go home
    scene.pass(20_000);
  }
  expect(blocksAfterCut(scene)).toBeLessThan(end);
  expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
  expect(blocksAfterCut(scene)).toBe(end);
});

test("keep the word on their end when they are removed, until no power cut can bring them back", () => {
  const scene = made({ lossWindowUs: 1e9 });
  getAhead(scene);
  const { io } = scene;
  const { ledger, checkpoint } = scene.journaling;
  const flushRemovals = io.syncfs.bind(io);
  const live: number[] = [];
  io.syncfs = (...call) => {
    live.push(ledger.commits);
    flushRemovals(...call);
  };
  scene.result((done) => scene.volume.discard(A, () => done(0)));
  checkpoint.makeRoom();
  scene.until("the journal is empty", () => ledger.isEmpty);
  expect(live).toHaveLength(1);
  expect(live[0]).toBeGreaterThan(0);
});

test("survive a killed engine: its successor knows that home is ahead", () => {
  const scene = made();
  const end = getAhead(scene);
  const before = blocksAfterCut(scene);
  scene.restart();
  expect(scene.journaling.ledger.exact.size).toBe(1);
  expect(blocksAfterCut(scene)).toBe(before);
  scene.pass(2 * WINDOW_US);
  expect(scene.journaling.ledger.exact.size).toBe(0);
  expect(blocksAfterCut(scene)).toBe(end);
});
