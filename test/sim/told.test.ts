/** sync: flushes of images of which the journal cannot be told before something of theirs is void, beside other transactions. */
import { expect, test } from "vitest";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Scene } from "./scene.ts";

const [A, B] = [asSlot(0), asSlot(1)];
const PUNCH = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;

function writeScattered(scene: Scene, slot: typeof A, fill: number): void {
  for (let block = 0; block < 40; block += 2) scene.write(slot, block, 1, fill);
}

/** A was cut at home, and has new data; the journal is busy with B's. */
function cutAndBusy(): Scene {
  const scene = new Scene({ mode: "sync", files: [A, B].map((slot) => ({ slot, blocks: 64 })) });
  const { io } = scene;
  writeScattered(scene, A, 7);
  expect(scene.flush(A)).toBe(0);
  expect(scene.result((done) => scene.volume.truncate(A, 0, done))).toBe(0);
  writeScattered(scene, A, 8);
  const writeDurably = io.writeDurably.bind(io);
  io.writeDurably = (...write) => scene.after(50_000, () => writeDurably(...write));
  writeScattered(scene, B, 9);
  scene.volume.flush(B, false, () => undefined);
  scene.until("it is being committed", () => scene.journaling.journal.busy);
  return scene;
}

test.for(["checkpoint", "drain"] as const)("a flush of a cut image beside %s", (what) => {
  const scene = cutAndBusy();
  const flushed: number[] = [];
  scene.volume.flush(A, false, (result) => flushed.push(result));
  scene.until("its shape is durable", () => scene.journaling.durability["waiters"].length > 0);
  if (what === "checkpoint") scene.journaling.checkpoint.all(() => undefined);
  else scene.volume.drain.once(() => undefined);
  scene.until("A is flushed", () => flushed.length > 0);
  expect(flushed).toEqual([0]);
  expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
});

test("a flush of an image that is punched again, beside a checkpoint", () => {
  const scene = new Scene({ mode: "sync", files: [A, B].map((slot) => ({ slot, blocks: 64 })) });
  const { io } = scene;
  writeScattered(scene, A, 8);
  const writeDurably = io.writeDurably.bind(io);
  io.writeDurably = (...write) => scene.after(50_000, () => writeDurably(...write));
  writeScattered(scene, B, 9);
  scene.volume.flush(B, false, () => undefined);
  scene.until("it is being committed", () => scene.journaling.journal.busy);
  const flushed: number[] = [];
  scene.volume.flush(A, false, (result) => flushed.push(result));
  scene.until("it waits", () => scene.journaling.durability["waiters"].length > 0);
  const punched: number[] = [];
  scene.volume.allocate(A, PUNCH, 61 * BLOCK_BYTES, BLOCK_BYTES, (result) => punched.push(result));
  scene.until("it is punched", () => punched.length > 0);
  expect(scene.journaling.journal.busy).toBe(true);
  scene.journaling.checkpoint.all(() => undefined);
  scene.until("A is flushed", () => flushed.length > 0);
  expect(flushed).toEqual([0]);
  expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
});

test("of more than 32 images that are flushed together, the last one was cut", () => {
  const COUNT = 40;
  const slots = Array.from({ length: COUNT }, (_, i) => asSlot(i));
  const scene = new Scene({ mode: "sync", files: slots.map((slot) => ({ slot, blocks: 64 })), ringBlocks: 8000 });
  const { io } = scene;
  const last = slots.at(-1)!;
  for (const slot of slots) {
    for (const block of [0, 2, 4, 6]) scene.write(slot, block, 1, 7);
    expect(scene.flush(slot)).toBe(0);
  }
  expect(scene.result((done) => scene.volume.truncate(last, 0, done))).toBe(0);
  for (const slot of slots) for (const block of [0, 2, 4, 6]) scene.write(slot, block, 1, 8);
  const writeDurably = io.writeDurably.bind(io);
  io.writeDurably = (...write) => scene.after(200_000, () => writeDurably(...write));
  // The journal is busy for a while with another flush, and behind it 40 images' flushes wait together.
  scene.volume.flush(slots[0]!, false, () => undefined);
  scene.until("it is being committed", () => scene.journaling.journal.busy);
  scene.write(slots[0]!, 10, 1, 9);
  scene.write(slots[0]!, 12, 1, 9);
  let flushed = 0;
  const told = (result: number): void => {
    expect(result).toBe(0);
    flushed++;
  };
  for (const slot of slots) scene.volume.flush(slot, false, told);
  scene.until("all wait", () => scene.journaling.durability["waiters"].length === COUNT);
  expect(scene.journaling.journal.busy).toBe(true);
  scene.until("all are flushed", () => flushed === COUNT);
  const files = scene.recovered();
  expect(slots.map((slot) => files.get(slot)!.bytes.byte(0))).toEqual(slots.map(() => 8));
});

test("a flush of a cut image, beside what a failing image makes to be committed again", () => {
  const C = asSlot(2);
  const scene = new Scene({ mode: "sync", files: [A, B, C].map((slot) => ({ slot, blocks: 400 })) });
  const { io } = scene;
  const writev = io.writev.bind(io);
  io.writev = (fd, ...call) => {
    if (scene.home.file(fd).slot === C) scene.after(100, () => call[3](-5));
    else writev(fd, ...call);
  };
  writeScattered(scene, C, 5);
  expect(scene.flush(C)).toBe(0);
  writeScattered(scene, A, 7);
  expect(scene.flush(A)).toBe(0);
  expect(scene.result((done) => scene.volume.truncate(A, 0, done))).toBe(0);
  writeScattered(scene, A, 8);
  const { durability, journal } = scene.journaling;
  const writeDurably = io.writeDurably.bind(io);
  io.writeDurably = (...write) => scene.after(50_000, () => writeDurably(...write));
  const isAgain = (): boolean => durability["nowWaiters"].length > 0;
  // B is flushed again and again, which goes round the ring; at some moment what C has is committed again.
  for (let i = 0; i < 60 && !isAgain(); i++) {
    const flushedB: number[] = [];
    for (let block = 0; block < 40; block++) scene.write(B, 2 * block + (i % 2), 1, 1 + i);
    scene.volume.flush(B, false, (result) => flushedB.push(result));
    scene.until("it is being committed", () => journal.busy || flushedB.length > 0);
    scene.until("B is flushed", () => flushedB.length > 0 || isAgain());
  }
  expect(isAgain()).toBe(true);
  expect(scene.flush(A)).toBe(0);
  expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
});
