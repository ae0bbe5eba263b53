/** Changes of what flushes promise, and mounts without the cache: cases that reading found, each told step by step. */
import { describe, expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import type { Log } from "../../src/base/log.ts";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import type { LiveSettings } from "../../src/engine/config.ts";
import { Settings } from "../../src/engine/settings.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Random } from "./random.ts";
import { Scene } from "./scene.ts";

const [A, B] = [asSlot(0), asSlot(1)];
const PUNCH = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
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
  durability.window.lengthUs = 1e9;
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

test("a change to sync while one to ordered is under way is the one that holds", () => {
  const scene = new Scene({ mode: "sync", latencyUs: 10_000 });
  for (let block = 0; block < 40; block += 2) scene.write(A, block, 1, 7);
  const told: string[] = [];
  scene.volume.setDurability("ordered", (result) => told.push(`ordered ${result}`));
  scene.pass(1000);
  expect(told).toEqual([]);
  scene.volume.setDurability("sync", (result) => told.push(`sync ${result}`));
  scene.pass(10e6);
  expect(told).toEqual(["ordered 0", "sync 0"]);
  expect(scene.journaling.durability.mode).toBe("sync");
  scene.write(A, 1, 1, 9);
  expect(scene.flush(A)).toBe(0);
  expect(scene.recovered().get(A)!.bytes.byte(BLOCK_BYTES)).toBe(9);
});

test("ordered comes to hold beside clients that write faster than the device, with more dirty than a transaction takes", () => {
  const files = [A, B].map((slot) => ({ slot, blocks: 1000 }));
  const scene = new Scene({ mode: "sync", files, ringBlocks: 1200, latencyUs: 20_000 });
  const random = new Random(1);
  let writing = 0;
  /** Ten times as many as go home in the same time, none next to another. */
  const writeMore = (): void => {
    for (let i = 0; i < 8 && writing < 8; i++) {
      writing++;
      scene.beginWrite(random.pick([A, B]), 2 * random.below(500), 1, 7, () => writing--);
    }
    scene.pass(1000);
  };
  const dirty = (): number => scene.volume.dirtyBlocks(A) + scene.volume.dirtyBlocks(B);
  while (dirty() < 800) writeMore();
  const told: number[] = [];
  scene.volume.setDurability("ordered", (result) => told.push(result));
  for (let ms = 0; told.length === 0 && ms < 20_000; ms++) writeMore();
  expect(told).toEqual([0]);
});

describe("the settings", () => {
  const LIVE: LiveSettings = {
    durability: "sync",
    lossWindow: 1e3,
    device: "hdd",
    dirtyLimit: 0.9,
    rateLimit: 0,
    maxAge: 0,
    logLevel: "info",
  };
  const silent = { info: () => undefined, warn: () => undefined, error: () => undefined } as unknown as Log;

  /** Of a mount that asks for sync, over what one of ordered left. */
  function takenOver(scene: Scene): Settings {
    return new Settings(LIVE, new ArrayBuffer(4096), false, scene.volume, "ordered", silent);
  }

  test("refuse ordered without the cache, as a mount does", () => {
    const scene = new Scene({ mode: "sync", cache: false });
    const settings = new Settings(LIVE, new ArrayBuffer(4096), false, scene.volume, "sync", silent);
    scene.pass(1e6);
    expect(() => settings.set("durability=ordered", () => undefined)).toThrow("takes the cache");
    expect(settings.current.durability).toBe("sync");
  });

  test("say ordered if what was mounted as sync could not leave it", () => {
    const scene = new Scene({ mode: "ordered" });
    scene.write(A, 0, 1, 7);
    const mend = scene.failFlushes(A);
    const settings = takenOver(scene);
    scene.pass(1e6);
    expect([settings.current.durability, scene.volume.flushesAtOnce]).toEqual(["ordered", true]);
    mend();
    expect(scene.result<number>((done) => settings.set("durability=sync", done))).toBe(0);
    expect([settings.current.durability, scene.volume.flushesAtOnce]).toEqual(["sync", false]);
  });

  test("take no second change while the first of a mount is under way, nor while one that failed is being taken back", () => {
    const scene = new Scene({ mode: "ordered", latencyUs: 10_000 });
    scene.write(A, 0, 1, 7);
    const settings = takenOver(scene);
    expect(() => settings.set("durability=volatile", () => undefined)).toThrow("another change is under way");
    expect(() => settings.set("durability=sync", () => undefined)).toThrow("another change is under way");
    scene.pass(5e6);
    expect(scene.result<number>((done) => settings.set("durability=volatile", done))).toBe(0);
    const { durability } = scene.journaling;
    const become = durability.become.bind(durability);
    durability.become = (mode, done) => {
      if (mode === "sync") scene.after(1000, () => done(-E.EIO));
      else scene.after(1e6, () => become(mode, done));
    };
    const told: number[] = [];
    settings.set("durability=sync", (result) => told.push(result));
    scene.pass(500_000);
    expect(() => settings.set("durability=ordered", () => undefined)).toThrow("another change is under way");
    scene.pass(5e6);
    expect(told).toEqual([-E.EIO]);
    expect(settings.current.durability).toBe("volatile");
  });
});

describe("without the cache", () => {
  test("each flush is a device's, over a journal that is carried on from a slab of before", () => {
    const scene = new Scene({ mode: "sync" });
    for (let block = 0; block < 40; block += 2) scene.write(A, block, 1, 7);
    expect(scene.flush(A)).toBe(0); // in the journal
    scene.restart({ cache: false });
    expect(scene.result((done) => scene.journaling.checkpoint.all(done))).toBe(0); // as `engine/engine.ts`
    scene.until("all is home", () => scene.volume.cache.blocks === 0 && scene.journaling.ledger.isEmpty);
    for (let i = 0; i < 3; i++) {
      expect(scene.write(A, i, 1, 8 + i)).toBe(BLOCK_BYTES);
      expect(scene.flush(A)).toBe(0);
    }
    const { bytes } = scene.recovered().get(A)!;
    expect([0, 1, 2].map((i) => bytes.byte(i * BLOCK_BYTES))).toEqual([8, 9, 10]);
  });

  test("what was written in volatile is safe when sync holds", () => {
    const scene = new Scene({ mode: "volatile", cache: false });
    expect(scene.result((done) => scene.volume.flushHome(A, done))).toBe(0);
    expect(scene.write(A, 0, 1, 8)).toBe(BLOCK_BYTES);
    expect(scene.result((done) => scene.volume.setDurability("sync", done))).toBe(0);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });

  test.for(["with", "without"] as const)("a drain %s a journal does not pass over a file that was forgotten", (has) => {
    const scene = new Scene({ mode: "sync" });
    scene.journal.isVoid = has === "without";
    scene.restart({ cache: false });
    expect(scene.volume.journaling === undefined).toBe(scene.journal.isVoid);
    expect(scene.write(A, 0, 1, 8)).toBe(BLOCK_BYTES);
    expect(scene.result((done) => scene.volume.release(A, done))).toBe(true);
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.home.files.get(A)!.durable.byte(0)).toBe(8);
  });

  test("nor over one that an engine wrote that was killed", () => {
    const scene = new Scene({ mode: "sync", cache: false });
    expect(scene.write(A, 0, 1, 8)).toBe(BLOCK_BYTES);
    scene.restart();
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.home.files.get(A)!.durable.byte(0)).toBe(8);
  });
});

test("sync, of which the journal is nearly full, becomes ordered, and guests write on", () => {
  const files = BOTH.map(({ slot }) => ({ slot, blocks: 900 }));
  const scene = new Scene({ mode: "sync", files, ringBlocks: 2000, latencyUs: 100 });
  const { io } = scene;
  const { journal } = scene.journaling;
  const writev = io.writev.bind(io);
  io.writev = (fd, ...call) => scene.after(scene.home.file(fd).slot === A ? 60e6 : 0, () => writev(fd, ...call));
  for (let block = 0; block < 80; block += 2) scene.write(A, block, 1, 7);
  expect(scene.flush(A)).toBe(0);
  // Another image is flushed again and again while the checkpoint waits for A's device, some of whose writes are under way.
  const flushUntilFull = (blocks: number, room: number): void => {
    for (let i = 0; journal.hasRoom(room); i++) {
      for (let block = 0; block < blocks; block++) scene.write(B, 2 * block, 1, 1 + (i % 200));
      expect(scene.flush(B)).toBe(0);
    }
  };
  flushUntilFull(10, 40);
  flushUntilFull(2, 2);
  for (let block = 60; block < 80; block += 2) scene.write(A, block, 1, 8); // some of the others are written again
  const told: number[] = [];
  scene.volume.setDurability("ordered", (result) => told.push(result));
  scene.pass(1e6);
  io.writev = writev; // the device is fast from now on
  scene.pass(300e6);
  const answered: number[] = [];
  scene.beginWrite(B, 0, 1, 9, (result) => answered.push(result));
  scene.pass(300e6);
  expect({ told, answered }).toEqual({ told: [0], answered: [BLOCK_BYTES] });
});

test("sync becomes ordered while files are opened all the time, and a truncate goes on", () => {
  const files = Array.from({ length: 1500 }, (_, i) => ({ slot: asSlot(i), blocks: 1 }));
  const scene = new Scene({ mode: "sync", files, latencyUs: 5000 });
  scene.write(A, 0, 1, 7);
  expect(scene.flush(A)).toBe(0);
  scene.volume.open(B);
  const told: number[] = [];
  scene.volume.setDurability("ordered", (result) => told.push(result));
  const cut: number[] = [];
  scene.volume.truncate(A, 100, (result) => cut.push(result));
  // 500 files a second, for three seconds.
  for (const { slot } of files.slice(2)) {
    scene.volume.open(slot);
    scene.pass(2000);
  }
  expect({ told, cut }).toEqual({ told: [0], cut: [0] });
});

describe("a lease that is waited for, and fails", () => {
  /** Of a journal that holds something, and whose file takes no write any more. */
  function leaseFails(mode: "sync" | "ordered"): Scene {
    const scene = new Scene({ mode, lossWindowUs: 50_000, ringBlocks: 4096 });
    for (let block = 0; block < 4; block += 2) scene.write(A, block, 1, 7);
    if (mode === "sync") expect(scene.flush(A)).toBe(0);
    scene.pass(3e6); // half of the lease is over
    const { io } = scene;
    const writev = io.writev.bind(io);
    io.writev = (fd, ...call) => {
      const done = call[3];
      if (scene.home.file(fd) === scene.journal.file) scene.after(1e6, () => done(-E.EIO));
      else writev(fd, ...call);
    };
    return scene;
  }

  test("ends the checkpoint of an unmount", () => {
    const scene = leaseFails("sync");
    const told: number[] = [];
    scene.journaling.checkpoint.all((result) => told.push(result));
    scene.pass(300e6);
    expect(scene.journaling.durability.isBroken).toBe(true);
    expect(told.length).toBe(1);
  });

  test("ends a change of mode, and changes of shape go on", () => {
    const scene = leaseFails("ordered");
    const told: number[] = [];
    scene.volume.setDurability("sync", (result) => told.push(result));
    scene.pass(300e6);
    expect(scene.journaling.durability.isBroken).toBe(true);
    const punched: number[] = [];
    scene.volume.allocate(A, PUNCH, 0, BLOCK_BYTES, (result) => punched.push(result));
    scene.pass(1e6);
    expect({ told: told.length, punched }).toEqual({ told: 1, punched: [0] });
  });
});
