/** Files that are closed, or forgotten, while the journal has of them what is older than home. */
import { describe, expect, test } from "vitest";
import { OPEN_FILES_MAX } from "../../src/base/limits.ts";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { Scene } from "./scene.ts";

const A = asSlot(0);
const B = asSlot(OPEN_FILES_MAX + 1);
const OTHERS = Array.from({ length: OPEN_FILES_MAX }, (_, i) => ({ slot: asSlot(i + 1), blocks: 1 }));

function writeScattered(scene: Scene, slot: typeof A, fill: number): void {
  for (let block = 0; block < 40; block += 2) scene.write(slot, block, 1, fill);
}

describe("a file that is one too many to be kept open", () => {
  /** A's records are older than home. */
  function outrun(): Scene {
    const scene = new Scene({
      mode: "sync",
      files: [{ slot: A, blocks: 64 }, { slot: B, blocks: 64 }, ...OTHERS],
    });
    writeScattered(scene, A, 7);
    expect(scene.flush(A)).toBe(0);
    writeScattered(scene, A, 8);
    scene.volume.maxAgeUs = 1000;
    scene.until("it is home", () => !scene.volume.isDirty(A));
    scene.volume.maxAgeUs = 0;
    return scene;
  }

  test("a flush whose image is closed because it is idle voids what the journal has", () => {
    const scene = outrun();
    const { io } = scene;
    const writeDurably = io.writeDurably.bind(io);
    io.writeDurably = (...write) => scene.after(30_000, () => writeDurably(...write));
    writeScattered(scene, B, 9);
    const flushed: number[] = [];
    scene.volume.flush(B, false, (r) => flushed.push(r));
    scene.until("it is being committed", () => scene.journaling.journal.busy);
    const flushedA: number[] = [];
    scene.volume.flush(A, false, (r) => flushedA.push(r));
    for (const { slot } of OTHERS) scene.volume.open(slot);
    scene.until("A is flushed", () => flushedA.length > 0);
    expect(flushedA).toEqual([0]);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });

  test("a drain after an idle image was closed, and its record forgotten", () => {
    const scene = outrun();
    for (const { slot } of OTHERS) scene.volume.open(slot);
    expect(scene.result((done) => scene.volume.release(A, done))).toBe(true);
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });

  test("the same without release: drain", () => {
    const scene = outrun();
    for (const { slot } of OTHERS) scene.volume.open(slot);
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });

  test("a drain while a transaction is under way that an idle image was closed beside", () => {
    const scene = new Scene({
      mode: "sync",
      files: [{ slot: A, blocks: 64 }, { slot: B, blocks: 64 }, ...OTHERS],
    });
    const { io } = scene;
    const writeDurably = io.writeDurably.bind(io);
    writeScattered(scene, A, 7);
    io.writeDurably = (...write) => scene.after(300_000, () => writeDurably(...write));
    const flushed: number[] = [];
    scene.volume.flush(A, false, (r) => flushed.push(r));
    scene.until("it is being committed", () => scene.journaling.journal.busy);
    writeScattered(scene, A, 8);
    scene.volume.maxAgeUs = 1000;
    scene.until("it is home", () => scene.volume.dirtyBlocks(A) === 0);
    scene.volume.maxAgeUs = 0;
    scene.pass(20_000);
    expect(scene.journaling.journal.busy).toBe(true);
    for (const { slot } of OTHERS) scene.volume.open(slot);
    scene.pass(1e4);
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    scene.until("committed", () => !scene.journaling.journal.busy);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });
});

describe("a file that is not open when an engine begins", () => {
  /** The journal has 7, home has 8 durably; the engine was killed, and the file is not open in the next one. */
  function restarted(): Scene {
    const scene = new Scene({ mode: "sync" });
    writeScattered(scene, A, 7);
    expect(scene.flush(A)).toBe(0);
    writeScattered(scene, A, 8);
    scene.volume.maxAgeUs = 1000;
    scene.until("it is home", () => !scene.volume.isDirty(A));
    scene.pass(3e6);
    scene.restart();
    expect([...scene.volume.openImages]).toEqual([]);
    return scene;
  }

  test("a drain after an engine's restart voids what the journal has that is older", () => {
    const scene = restarted();
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });

  test("also of a file that the kernel has forgotten since", () => {
    const scene = restarted();
    expect(scene.volume.isDirty(A)).toBe(false);
    expect(scene.result((done) => scene.volume.release(A, done))).toBe(true);
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });

  test("and the first instant of ordered does too", () => {
    const scene = restarted();
    expect(scene.result((done) => scene.volume.release(A, done))).toBe(true);
    expect(scene.result((done) => scene.volume.setDurability("ordered", done))).toBe(0);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
  });
});

/** A is being closed (`release`), and waits for a read to end, when its last name goes (`discard`). */
test("a file that is discarded while it is being closed is closed once", () => {
  const scene = new Scene({ mode: "sync" });
  expect(scene.flush(A)).toBe(0);
  const { io } = scene;
  const readv = io.readv.bind(io);
  io.readv = (...call) => scene.after(50_000, () => readv(...call));
  scene.volume["reader"].read(scene.volume.open(A) as never, 0, BLOCK_BYTES, () => undefined);
  const released: boolean[] = [];
  scene.volume.release(A, (isReleased) => released.push(isReleased));
  let gone = 0;
  scene.volume.discard(A, () => gone++);
  scene.until("both", () => gone > 0 && released.length > 0);
  expect([...scene.volume.openImages]).toEqual([]);
});

/** The same, and the next user of the slot's record, or of the file, comes in between. */
test("and an image that was opened anew meanwhile keeps its data", () => {
  const scene = new Scene({ mode: "sync" });
  expect(scene.flush(A)).toBe(0);
  const { io } = scene;
  const readv = io.readv.bind(io);
  io.readv = (...call) => scene.after(50_000, () => readv(...call));
  scene.volume["reader"].read(scene.volume.open(A) as never, 0, BLOCK_BYTES, () => undefined);
  scene.volume.release(A, () => undefined);
  let written = 0;
  scene.beginWrite(A, 3, 1, 9, (result) => {
    written = result;
  });
  scene.until("it is written", () => written > 0);
  expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
  expect(scene.home.files.get(A)!.durable.byte(3 * BLOCK_BYTES)).toBe(9);
});

test.for(["sync", "ordered"] as const)(
  "%s: of files that are made, written and removed nothing stays in memory",
  (mode) => {
    const scene = new Scene({ mode, latencyUs: 100, lossWindowUs: 1000 });
    const { ledger } = scene.journaling;
    for (let slot = 1; slot <= 100; slot++) {
      const file = asSlot(slot);
      scene.addFile(file, 1);
      scene.write(file, 0, 1, 7);
      if (slot % 2 === 0) expect(scene.flush(file)).toBe(0);
      expect(scene.result((done: (result: number) => void) => scene.volume.discard(file, () => done(0)))).toBe(0);
      scene.home.files.delete(file);
    }
    expect(scene.result((done) => scene.journaling.checkpoint.all(done))).toBe(0);
    expect(ledger["images"].size).toBeLessThanOrEqual(1); // the file that is left
  },
);
