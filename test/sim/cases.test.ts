/** Cases that reading found, each told step by step. */
import { describe, expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import { OPEN_FILES_MAX } from "../../src/base/limits.ts";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import { ImageFlag } from "../../src/cache/image.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import { Scene } from "./scene.ts";
import { Killed } from "./sim-io.ts";

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

test("a file of which the journal has what is older than home is closed only when that is void", () => {
  const scene = new Scene({ mode: "sync" });
  writeScattered(scene, 7);
  expect(scene.flush(A)).toBe(0);
  writeScattered(scene, 8);
  scene.volume.maxAgeUs = 1000;
  scene.until("it is home", () => !scene.volume.isDirty(A));
  expect(scene.result((done) => scene.volume.release(A, done))).toBe(true);
  expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
  expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(8);
});

test("a file that waits for a commit of a drain is not closed under it", () => {
  const scene = new Scene({ mode: "sync" });
  writeScattered(scene, 7);
  expect(scene.flush(A)).toBe(0);
  writeScattered(scene, 8);
  const drained: number[] = [];
  scene.volume.drain.once((result) => drained.push(result));
  const released: boolean[] = [];
  scene.until("its device is flushed", () => scene.volume.openImages.next().value?.blocks === 0);
  scene.volume.release(A, (isReleased) => released.push(isReleased));
  scene.until("both are answered", () => drained.length > 0 && released.length > 0);
  scene.pass(1e6);
  expect(drained).toEqual([0]);
  const opened = [...scene.volume.openImages].map(({ slot }) => slot);
  const known = scene.journaling["transactions"]["lives"].has(A);
  expect({ opened, known }).toEqual(released[0] === true ? { opened: [], known: false } : { opened: [A], known: true });
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

  test("is not opened again for what a transaction brings that was under way when it was removed", () => {
    const scene = new Scene({ mode: "sync" });
    const { io } = scene;
    writeScattered(scene, 7);
    expect(scene.flush(A)).toBe(0);
    const writeDurably = io.writeDurably.bind(io);
    io.writeDurably = (...write) => scene.after(30_000, () => writeDurably(...write));
    writeScattered(scene, 8);
    scene.volume.flush(A, false, () => undefined);
    const { journal, checkpoint } = scene.journaling;
    scene.until("it is being committed", () => journal.busy);
    const live = scene.journaling["transactions"].live(A);
    const gone: true[] = [];
    scene.volume.discard(A, () => gone.push(true));
    checkpoint.makeRoom();
    scene.until("its removal is durable", () => live.isRemoved);
    scene.until(
      "the commit is there",
      () => gone.length > 0 || [...live.records.values()].some((record) => record > 0),
    );
    checkpoint.makeRoom();
    scene.until("it is gone", () => gone.length > 0);
    scene.pass(1e6);
    expect([...scene.volume.openImages]).toEqual([]);
  });

  test("is kept by the journal until its removal is durable: a power cut brings its name back", () => {
    const scene = new Scene({ mode: "sync" });
    const { io } = scene;
    writeScattered(scene, 7);
    expect(scene.flush(A)).toBe(0);
    const syncfs = io.syncfs.bind(io);
    io.syncfs = (...call) => scene.after(5e6, () => syncfs(...call));
    scene.result<void>((done) => scene.volume.discard(A, done));
    const { checkpoint, ledger } = scene.journaling;
    checkpoint.makeRoom();
    scene.pass(3e6);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(7);
    scene.until("its removal is durable, and the tail has passed it", () => ledger.isEmpty);
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

describe("an image that cannot go home does not keep another's writes out of the journal (fault 27)", () => {
  /** A has `dirty` blocks in the journal; its home takes nothing below `until`. */
  function failing(mode: "sync" | "ordered", dirty: number, until: number): Scene {
    const scene = new Scene({ mode, files: BOTH, lossWindowUs: 100_000 });
    const { io } = scene;
    const writev = io.writev.bind(io);
    io.writev = (fd, iov, count, offset, done) => {
      if (scene.home.file(fd).slot === A && offset < until) scene.after(100, () => done(-E.EIO));
      else writev(fd, iov, count, offset, done);
    };
    for (let i = 0; i < dirty; i++) scene.write(A, 5 * i, 1, 7);
    if (mode === "sync") expect(scene.flush(A)).toBe(0);
    return scene;
  }

  /** Goes round the ring several times. */
  function writeOther(scene: Scene, mode: "sync" | "ordered"): void {
    for (let i = 0; i < 1500; i++) {
      scene.write(B, 2 * (i % 100), 1, 1 + (i % 200));
      if (mode === "sync") expect(scene.flush(B)).toBe(0);
      else if (i % 10 === 0) scene.pass(200_000);
    }
  }

  test.for(["sync", "ordered"] as const)("%s, and loses nothing", (mode) => {
    const scene = failing(mode, 10, Number.POSITIVE_INFINITY);
    writeOther(scene, mode);
    const { bytes } = scene.recovered().get(A)!;
    for (let i = 0; i < 10; i++) expect(bytes.byte(5 * i * BLOCK_BYTES)).toBe(7);
  });

  test.for([
    ["another's truncate", B],
    ["a punch of its own", A],
  ] as const)("ordered, with %s beside it in one commit", ([, slot]) => {
    const scene = failing("ordered", 2, 16 * BLOCK_BYTES);
    const change = (done: (result: number) => void): void => {
      if (slot === B) scene.volume.truncate(B, 32 * BLOCK_BYTES, done);
      else scene.volume.allocate(A, PUNCH, 20 * BLOCK_BYTES, BLOCK_BYTES, done);
    };
    expect(scene.result(change)).toBe(0);
    writeOther(scene, "ordered");
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(7);
  });

  test("ordered, and does not undo a punch of its own that is under way", () => {
    const scene = failing("ordered", 2, 16 * BLOCK_BYTES);
    const { io } = scene;
    const writev = io.writev.bind(io);
    const fallocate = io.fallocate.bind(io);
    io.writev = (fd, ...call) => scene.after(scene.home.file(fd).slot === B ? 2e6 : 0, () => writev(fd, ...call));
    io.fallocate = (...call) => scene.after(4e6, () => fallocate(...call));
    scene.write(B, 0, 1, 7);
    const { checkpoint, ledger } = scene.journaling;
    scene.until("all is committed", () => ledger.commits > 0);
    checkpoint.makeRoom();
    scene.until("it is known to fail", () => (scene.volume["table"].flags(A) & ImageFlag.failing) !== 0);
    const punched: number[] = [];
    scene.volume.allocate(A, PUNCH, 0, 16 * BLOCK_BYTES, (result) => punched.push(result));
    scene.until("it is done", () => punched.length > 0);
    expect(punched).toEqual([0]);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(0);
  });
});

test("many images that cannot go home take no more of the cache than one may, and another's writes find room", () => {
  const sick = Array.from({ length: 8 }, (_, i) => asSlot(i));
  const well = asSlot(8);
  const scene = new Scene({ mode: "volatile", files: [...sick, well].map((slot) => ({ slot, blocks: 1024 })) });
  const { io } = scene;
  const writev = io.writev.bind(io);
  io.writev = (fd, iov, count, offset, done) => {
    if (scene.home.file(fd).slot !== well) scene.after(100, () => done(-E.EIO));
    else writev(fd, iov, count, offset, done);
  };
  let answered = 0;
  for (let first = 0; first < 1024; first += 64)
    for (const slot of sick) {
      scene.beginWrite(slot, first, 64, 7, () => answered++);
      scene.pass(10_000);
    }
  scene.until("all are answered", () => answered === 16 * sick.length);
  for (let first = 0; first < 1024; first += 64) expect(scene.write(well, first, 64, 9)).toBe(64 * BLOCK_BYTES);
});

test("of more open files than are kept the one not used for longest is closed", () => {
  const files = Array.from({ length: OPEN_FILES_MAX + 1 }, (_, i) => ({ slot: asSlot(i), blocks: 1 }));
  const scene = new Scene({ mode: "sync", files });
  for (const { slot } of files) scene.volume.open(slot);
  const opened = [...scene.volume.openImages].map(({ slot }) => slot);
  expect([opened.length, opened.includes(A)]).toEqual([OPEN_FILES_MAX, false]);
});

test("a file that was to be closed when it is idle, and was closed for another reason, is let alone when it is open again", () => {
  const others = Array.from({ length: OPEN_FILES_MAX }, (_, i) => ({ slot: asSlot(i + 1), blocks: 1 }));
  const scene = new Scene({ mode: "sync", files: [...others, { slot: A, blocks: 1 }] });
  expect(scene.result((done) => scene.volume.allocate(A, PUNCH, 0, BLOCK_BYTES, done))).toBe(0);
  for (const { slot } of others) expect(scene.volume.open(slot)).toMatchObject({ slot });
  expect(scene.result((done) => scene.volume.release(A, done))).toBe(true);
  scene.write(A, 8, 1, 7);
  const flags = scene.volume["table"].flags(A);
  expect(flags & ImageFlag.size).not.toBe(0);
  scene.pass(2e6);
  expect(scene.volume["table"].flags(A) & ImageFlag.size).not.toBe(0);
});

test.for(["before", "after"] as const)(
  "an engine that is killed just %s it has taken note that a transaction is on stable media leaves one that can go on",
  (when) => {
    const scene = new Scene({ mode: "ordered", lossWindowUs: 100_000 });
    writeScattered(scene, 7);
    Object.defineProperty(scene.journal, "acknowledged", {
      configurable: true,
      get: () => 0,
      set: (sequence: number) => {
        Object.defineProperty(scene.journal, "acknowledged", {
          value: when === "after" ? sequence : 0,
          writable: true,
        });
        throw new Killed();
      },
    });
    expect(() => scene.pass(1e6)).toThrow(Killed);
    scene.restart();
    expect(scene.volume.cache.commits.uncommitted).toBe(when === "after" ? 0 : 20);
    scene.pass(1e6);
    expect(scene.volume.cache.commits.uncommitted).toBe(0);
    expect(scene.recovered().get(A)!.bytes.byte(0)).toBe(7);
  },
);

test("a write has the civil time of its moment, whatever the clock was set to before", () => {
  const scene = new Scene({ mode: "sync" });
  expect(scene.write(A, 0, 1, 7)).toBe(BLOCK_BYTES);
  scene.setCivilAhead(3600);
  scene.pass(1_000_000);
  expect(scene.write(A, 0, 1, 8)).toBe(BLOCK_BYTES);
  const { civilSeconds } = scene;
  expect(scene.result((done) => scene.volume.drain.once(done))).toBe(0);
  expect(Math.abs(scene.home.files.get(A)!.mtime.seconds - civilSeconds)).toBeLessThanOrEqual(1);
});
