/** Images that are copied into holes, in `ordered`: what fills a hole that the last commit names goes home ahead of the journal. */
import { expect, test } from "vitest";
import { asSlot, BLOCK_BYTES, type InodeSlot } from "../../src/base/units.ts";
import type { Image } from "../../src/cache/images.ts";
import { Counter } from "../../src/stats/counters.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Scene, type SceneOptions } from "./scene.ts";

const A = asSlot(0);
const B = asSlot(1);
const BLOCKS = 1000;
const TOGETHER = 20;
const WINDOW_US = 50_000;
/** Between two writes. */
const THINK_US = 300;

const made = (options: Partial<SceneOptions> = {}, blocks = BLOCKS): Scene =>
  new Scene({
    mode: "ordered",
    files: [
      { slot: A, blocks },
      { slot: B, blocks: 8 },
    ],
    latencyUs: 100,
    lossWindowUs: WINDOW_US,
    ringBlocks: 4096,
    ...options,
  });

const fillOf = (block: number): number => 1 + (Math.floor(block / TOGETHER) % 250);

/** Writes blocks `from` to `to` - 1 of A, one piece after the other. */
function fill(scene: Scene, from: number, to: number): void {
  for (let at = from; at < to; at += TOGETHER) {
    expect(scene.write(A, at, TOGETHER, fillOf(at))).toBe(TOGETHER * BLOCK_BYTES);
    scene.pass(THINK_US);
  }
}

const imageOf = (scene: Scene, slot: InodeSlot): Image => scene.volume.open(slot) as Image;

const journalled = (scene: Scene): number => scene.engine.counters.at[Counter.journalBytes]! / BLOCK_BYTES;

/** A block of A after a power cut. */
function blockAfterCut(scene: Scene, block: number): number {
  const { bytes } = scene.recovered().get(A)!;
  return bytes.byte(block * BLOCK_BYTES + 7);
}

/** Blocks of A that are filled after a power cut, of those from `from` on: these, and no others up to `end`. */
function filledAfterCut(scene: Scene, from = 0, end = BLOCKS): number {
  const { bytes } = scene.recovered().get(A)!;
  const byte = (block: number): number => bytes.byte(block * BLOCK_BYTES + 7);
  let at = from;
  for (; at < end && byte(at) !== 0; at++) expect(byte(at), `block ${at}`).toBe(fillOf(at));
  for (let behind = at; behind < end; behind++) expect(byte(behind), `block ${behind}`).toBe(0);
  return at;
}

/** What home has on stable media of A in block `block`. */
const homeHas = (scene: Scene, block: number): number => scene.home.files.get(A)!.durable.byte(block * BLOCK_BYTES + 7);

/** Fills A from block `from` on until home has what the journal has not; where that ended. */
function getAhead(scene: Scene, from = 0): number {
  let at = from;
  while (at < BLOCKS && homeHas(scene, filledAfterCut(scene, from)) === 0) {
    fill(scene, at, at + TOGETHER);
    at += TOGETHER;
  }
  expect(at, "home is ahead").toBeLessThan(BLOCKS);
  return at;
}

test("are written once, but for what makes the hole known", () => {
  const scene = made({ lossWindowUs: 1e9 });
  fill(scene, 0, BLOCKS);
  scene.pass(1e6);
  expect(journalled(scene)).toBeLessThan(BLOCKS / 6);
});

test("show one instant after a cut at any moment, none older than the window", () => {
  const scene = made();
  for (let at = 0; at < BLOCKS; at += TOGETHER) {
    fill(scene, at, at + TOGETHER);
    filledAfterCut(scene);
  }
  scene.pass(2 * WINDOW_US);
  expect(filledAfterCut(scene)).toBe(BLOCKS);
});

test("are written once where the file was truncated just before, and the journal still says so", () => {
  const scene = made({ lossWindowUs: 1e9 }, 8);
  for (const size of [0, BLOCKS * BLOCK_BYTES])
    expect(scene.result((done) => scene.volume.truncate(A, size, done))).toBe(0);
  expect(scene.journaling.ledger.hasActions).toBe(true);
  fill(scene, 0, BLOCKS);
  scene.pass(1e6);
  expect(journalled(scene)).toBeLessThan(BLOCKS / 6);
  expect(scene.journaling.ledger.hasActions).toBe(false);
});

test("leave alone what is behind the hole, at home, in the cache and in the journal", () => {
  const scene = made({ lossWindowUs: 1e9 });
  const home = 700;
  const cached = 800;
  expect(scene.write(A, home, 1, 99)).toBe(BLOCK_BYTES);
  expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
  expect(scene.write(A, cached, 1, 98)).toBe(BLOCK_BYTES);
  fill(scene, 0, 400);
  expect(imageOf(scene, A).extension.hole.end).toBe(home);
  expect([home, cached].map((block) => blockAfterCut(scene, block))).toEqual([99, 98]);
});

test("leave alone zeros that the journal has, where home makes holes of them", () => {
  const scene = made({ lossWindowUs: 1e9 });
  const zeros = 600;
  expect(scene.write(A, zeros, 1, 0)).toBe(BLOCK_BYTES);
  expect(scene.result((done) => scene.journaling.durability.commitAll(done))).toBe(0);
  expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
  expect(scene.journaling.ledger.commits).toBeGreaterThan(0);
  const file = scene.home.files.get(A)!;
  file.zero(zeros * BLOCK_BYTES, (zeros + 1) * BLOCK_BYTES, true, { ended: true, isShape: false });
  fill(scene, 0, 400);
  expect(imageOf(scene, A).extension.hole.end).toBe(zeros);
});

test("are found where several writers fill it, one somewhat ahead of another", () => {
  const scene = made({ lossWindowUs: 1e9 });
  for (let at = 0; at < BLOCKS; at += 2 * TOGETHER) {
    fill(scene, at + TOGETHER, at + 2 * TOGETHER);
    fill(scene, at, at + TOGETHER);
  }
  scene.pass(1e6);
  expect(journalled(scene)).toBeLessThan(BLOCKS / 4);
});

test("hold up only who fills the hole when home is slow", () => {
  const scene = made({ lossWindowUs: 1e9 });
  const end = getAhead(scene);
  scene.slowWrites(A, 1e6);
  const image = imageOf(scene, A);
  let at = end;
  const isHeld = (block: number): boolean =>
    scene.journaling.durability.isHeld(image, block * BLOCK_BYTES, (block + 1) * BLOCK_BYTES);
  for (; !isHeld(at); at += TOGETHER) fill(scene, at, at + TOGETHER);
  const answers: string[] = [];
  scene.beginWrite(A, at, TOGETHER, 3, () => answers.push("the hole"));
  scene.beginWrite(A, 0, 1, 3, () => answers.push("before it"));
  scene.beginWrite(B, 0, 1, 3, () => answers.push("another image"));
  expect(answers).toEqual(["before it", "another image"]);
  scene.pass(3e6);
  expect(answers).toHaveLength(3);
});

test("no longer go ahead once the hole's image is punched, until that is on stable media", () => {
  const scene = made({ lossWindowUs: 1e9 });
  const end = getAhead(scene);
  const punch = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
  const isPunched = (done: (result: number) => void): void =>
    scene.volume.allocate(A, punch, 0, TOGETHER * BLOCK_BYTES, done);
  expect(scene.result(isPunched)).toBe(0);
  expect([scene.journaling.ledger.exact.size, imageOf(scene, A).extension.isOpen]).toEqual([0, false]);
  expect([blockAfterCut(scene, 0), filledAfterCut(scene, TOGETHER)]).toEqual([0, end]);
  fill(scene, end, end + 16 * TOGETHER);
  expect(scene.journaling.ledger.hasActions).toBe(false);
  expect(imageOf(scene, A).extension.isOpen).toBe(true);
  expect(blockAfterCut(scene, 0)).toBe(0);
  filledAfterCut(scene, TOGETHER);
});

test("survive a killed engine", () => {
  const scene = made({ lossWindowUs: 1e9 });
  const end = getAhead(scene);
  const before = filledAfterCut(scene);
  scene.restart({ lossWindowUs: WINDOW_US });
  expect(filledAfterCut(scene)).toBe(before);
  scene.pass(2 * WINDOW_US);
  expect(filledAfterCut(scene)).toBe(end);
});
