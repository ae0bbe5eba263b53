/** Cases that reading found, each told step by step. */
import { describe, expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { ImageFlag } from "../../src/cache/image.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Scene } from "./scene.ts";

const [A, B] = [asSlot(0), asSlot(1)];
const BOTH = [A, B].map((slot) => ({ slot, blocks: 64 }));
const PUNCH = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;

/** Scattered, so that a flush of them goes into the journal. */
function writeScattered(scene: Scene, fill: number): void {
  for (let block = 0; block < 40; block += 2) scene.write(A, block, 1, fill);
}

describe("a file that nobody uses any more", () => {
  /** Flushed and home, its shape changed and not flushed: to close it takes a device flush. */
  function unflushed(): Scene {
    const scene = new Scene({ mode: "sync" });
    writeScattered(scene, 7);
    expect(scene.flush(A)).toBe(0);
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.result((done) => scene.volume.allocate(A, PUNCH, 5 * BLOCK_BYTES, BLOCK_BYTES, done))).toBe(0);
    scene.until("it is clean", () => !scene.volume.isDirty(A));
    return scene;
  }

  test("keeps what is written to it while it is being closed", () => {
    const scene = unflushed();
    const released: boolean[] = [];
    scene.volume.release(A, (isReleased) => released.push(isReleased));
    expect(scene.write(A, 0, 1, 9)).toBe(BLOCK_BYTES);
    scene.until("it is told", () => released.length > 0);
    expect(released).toEqual([false]);
    expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
    expect(scene.home.files.get(A)!.durable.byte(0)).toBe(9);
  });

  test("stays open if its device cannot be flushed, and is closed when it can", () => {
    const scene = unflushed();
    const mend = scene.failFlushes(A);
    expect(scene.result((done) => scene.volume.release(A, done))).toBe(false);
    mend();
    expect(scene.result((done) => scene.volume.release(A, done))).toBe(true);
    expect(scene.result((done) => scene.journaling.checkpoint.all(done))).toBe(0);
    expect(scene.journaling.ledger.isEmpty).toBe(true);
  });

  test("is flushed before it is closed, or a change to sync would pass over it", () => {
    const scene = new Scene({ mode: "volatile", files: BOTH });
    scene.write(A, 0, 1, 7);
    expect(scene.result((done) => scene.volume.flushHome(A, done))).toBe(0);
    expect(scene.result((done) => scene.volume.copy(A, 0, B, 0, BLOCK_BYTES, done))).toBe(BLOCK_BYTES);
    scene.until("the copy is clean", () => !scene.volume.isDirty(B));
    expect(scene.result((done) => scene.volume.release(B, done))).toBe(true);
    expect(scene.result((done) => scene.volume.setDurability("sync", done))).toBe(0);
    expect(scene.recovered().get(B)!.bytes.byte(0)).toBe(7);
  });
});

describe("a removed file", () => {
  test("is not opened again by a checkpoint that waited for its blocks", () => {
    const scene = new Scene({ mode: "sync" });
    writeScattered(scene, 7);
    expect(scene.flush(A)).toBe(0);
    const ended: number[] = [];
    scene.journaling.checkpoint.all((result) => ended.push(result));
    scene.until("its blocks are on their way", () => scene.volume.writer.inflight > 0);
    scene.result<void>((done) => scene.volume.discard(A, done));
    scene.until("the checkpoint ends", () => ended.length > 0);
    expect(ended).toEqual([0]);
    expect([...scene.volume.openImages]).toEqual([]);
  });

  test("of a filesystem without times of birth leaves nothing to the next file of its inode", () => {
    const scene = new Scene({ mode: "sync" });
    scene.result<void>((done) => scene.volume.discard(A, done));
    scene.volume["table"].setFlags(A, 0);
    writeScattered(scene, 7);
    expect(scene.flush(A)).toBe(0);
    scene.journaling.checkpoint.makeRoom();
    scene.until("a checkpoint has gone by", () => scene.journaling.ledger.isEmpty);
    expect(scene.home.files.get(A)!.durable.byte(0)).toBe(7);
  });
});

describe("ordered: a truncate", () => {
  /** Eight blocks, all home. */
  function eightBlocks(): Scene {
    const scene = new Scene({ mode: "ordered", files: [{ slot: A, blocks: 0 }], ringBlocks: 20_000 });
    scene.write(A, 0, 8, 7);
    expect(scene.result((done) => scene.journaling.checkpoint.all(done))).toBe(0);
    return scene;
  }

  test("that is done stays in the journal until a device flush of it has succeeded", () => {
    const scene = eightBlocks();
    expect(scene.result((done) => scene.volume.truncate(A, 0, done))).toBe(0);
    scene.failFlushes(A);
    for (let i = 0; i < 2; i++) expect(scene.result((done) => scene.journaling.checkpoint.all(done))).toBe(-E.EIO);
    expect(scene.recovered().get(A)!.size).toBe(0);
  });

  test("that fails, and whose engine dies before the journal is told so, is ended by the next one, or told then", () => {
    const scene = eightBlocks();
    const { volume } = scene;
    scene.io.truncate = (_fd, _size, done) => scene.after(10, () => done(-E.EIO));
    const { journal } = scene.journaling;
    const commit = journal.commit.bind(journal);
    let transactions = 0;
    journal.commit = (batch, done) => {
      if (++transactions === 1) commit(batch, done); // the second has the cancel
    };
    volume.truncate(A, 0, () => undefined);
    scene.until("the cancel is begun", () => transactions === 2);
    scene.restart();
    expect(scene.volume["table"].flags(A) & ImageFlag.cut).not.toBe(0);
    scene.until("the cut is ended", () => (scene.volume["table"].flags(A) & ImageFlag.cut) === 0);
    const opened = scene.volume.open(A);
    expect(opened).toMatchObject({ size: 0 });
    expect(scene.recovered().get(A)!.size).toBe(0);
  });
});

test("a checkpoint waits for a lease that is being renewed", () => {
  for (let seed = 1; seed <= 40; seed++) {
    const scene = new Scene({ mode: "sync", seed });
    scene.write(A, 0, 1, 7);
    scene.write(A, 2, 1, 7);
    expect(scene.flush(A)).toBe(0);
    scene.pass(3e6);
    expect(scene.result((done) => scene.journaling.checkpoint.all(done))).toBe(0);
  }
});

test("an image that cannot go home does not keep another's flushes out of the journal (fault 27)", () => {
  const scene = new Scene({ mode: "sync", files: BOTH });
  const { io } = scene;
  const writev = io.writev.bind(io);
  io.writev = (fd, iov, count, offset, done) => {
    if (scene.home.file(fd).slot === A) scene.after(100, () => done(-E.EIO));
    else writev(fd, iov, count, offset, done);
  };
  scene.write(A, 0, 1, 7);
  scene.write(A, 8, 1, 7);
  expect(scene.flush(A)).toBe(0);
  for (let i = 0; i < 600; i++) {
    scene.write(B, 2 * (i % 100), 1, 1 + (i % 200));
    expect(scene.flush(B)).toBe(0);
  }
  const { bytes } = scene.recovered().get(A)!;
  expect([bytes.byte(0), bytes.byte(8 * BLOCK_BYTES)]).toEqual([7, 7]);
});
