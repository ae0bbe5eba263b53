/** Changes of what flushes promise, and mounts without the cache: cases that reading found, each told step by step. */
import { expect, test } from "vitest";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { Scene } from "./scene.ts";

const [A, B] = [asSlot(0), asSlot(1)];
const BOTH = [A, B].map((slot) => ({ slot, blocks: 64 }));

test("an engine that is killed on its way from ordered to sync leaves one that comes to one instant when it is in ordered again", () => {
  const scene = new Scene({ mode: "ordered", files: BOTH, ringBlocks: 8000, lossWindowUs: 50_000 });
  const { io } = scene;
  const writev = io.writev.bind(io);
  io.writev = (fd, ...call) => scene.after(scene.home.file(fd).slot === B ? 1e6 : 0, () => writev(fd, ...call));
  scene.write(B, 0, 1, 7);
  scene.write(A, 10, 1, 7);
  scene.pass(100_000);
  const told: number[] = [];
  scene.volume.setDurability("sync", (result) => told.push(result));
  scene.pass(200_000); // what is to go home first is on its way
  scene.write(A, 0, 1, 7);
  scene.pass(100_000); // the window is over: the journal has 7
  const { durability } = scene.journaling;
  durability.lossWindowUs = 1e9;
  const writeDurably = io.writeDurably.bind(io);
  io.writeDurably = (...call) => scene.after(durability.mode === "sync" ? 60e6 : 3000, () => writeDurably(...call));
  // A guest writes block 0 again and again.
  let newest = 8;
  while (durability.mode === "ordered") {
    scene.write(A, 0, 1, ++newest % 200);
    scene.pass(500);
  }
  scene.write(A, 0, 1, ++newest % 200);
  scene.volume.maxAgeUs = 1000;
  scene.until("it is home", () => scene.volume.dirtyBlocks(A) === 0);
  expect(told).toEqual([]);
  scene.restart();
  expect(scene.result((done) => scene.volume.setDurability("ordered", done))).toBe(0);
  scene.write(B, 4, 1, 9);
  scene.pass(1e6); // a whole window later
  const files = scene.recovered();
  expect([files.get(B)!.bytes.byte(4 * BLOCK_BYTES), files.get(A)!.bytes.byte(0)]).toEqual([9, newest % 200]);
});
