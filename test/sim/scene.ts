/** A simulated mount for a case that is told step by step. Every wait is bounded. */
import { BLOCK_BYTES, type FrameNo, type InodeSlot } from "../../src/base/units.ts";
import { COMMIT_FRAMES_MAX } from "../../src/journal/layout.ts";
import type { DurabilityMode } from "../../src/volume/durability-context.ts";
import type { Journaling } from "../../src/volume/journaling.ts";
import { PARKED, type Volume } from "../../src/volume/volume.ts";
import { SimEngine, SimSlab } from "./engine.ts";
import { SimFile, SimHome } from "./home.ts";
import { type Recovered, SimJournal } from "./journal.ts";
import { HEALTHY, ORDERED_RING_BLOCKS } from "./plan.ts";
import { Random } from "./random.ts";
import type { SimIo } from "./sim-io.ts";
import { World } from "./world.ts";

const TURNS_MAX = 20_000;
const TURN_US = 1000;

export interface SceneOptions {
  mode: DurabilityMode;
  /** Of the files that are there; undefined for one of 64 blocks. */
  files?: readonly { slot: InodeSlot; blocks: number }[];
  ringBlocks?: number;
  lossWindowUs?: number;
  commitBlocks?: number;
  latencyUs?: number;
  /** Share of the cache that may be dirty. */
  dirtyLimit?: number;
  seed?: number;
  /** False: there is none, writes go through to the backing files. */
  cache?: boolean;
}

export class Scene {
  readonly home = new SimHome();
  readonly journal: SimJournal;
  engine: SimEngine;
  private readonly world: World;
  private readonly slab = new SimSlab();
  private readonly options: SceneOptions;
  /** The next engine begins in it. */
  private mode: DurabilityMode;

  constructor(options: SceneOptions) {
    this.options = { ...options };
    this.mode = options.mode;
    this.world = new World(new Random(options.seed ?? 1), false);
    this.slab.wipe(64);
    for (const { slot, blocks } of options.files ?? [{ slot: 0 as InodeSlot, blocks: 64 }]) this.addFile(slot, blocks);
    const { ringBlocks = ORDERED_RING_BLOCKS, commitBlocks = COMMIT_FRAMES_MAX } = options;
    this.journal = new SimJournal(this.world, this.home, ringBlocks, commitBlocks);
    this.engine = this.start();
  }

  addFile(slot: InodeSlot, blocks: number): SimFile {
    const file = new SimFile(slot, blocks * BLOCK_BYTES, 1024 * BLOCK_BYTES, this.world, this.home);
    this.home.files.set(slot, file);
    return file;
  }

  private start(): SimEngine {
    const { mode } = this;
    const { lossWindowUs = 1e9, latencyUs = 1000, dirtyLimit = 0.95, cache = true } = this.options;
    const tuning = { dirtyLimit, latencyUs, faults: HEALTHY, lossWindowUs, device: "hdd", mode, cache } as const;
    this.engine = new SimEngine(this.world, this.home, this.slab, tuning, this.journal);
    const { journaling } = this.volume;
    if (journaling === undefined) return this.engine;
    journaling.durability.onMode = (begun) => {
      this.mode = begun;
    };
    this.until("the journal is ready", () => journaling.journal.isReady);
    return this.engine;
  }

  /** The engine is killed, and so is the client; the next one begins, with `options`. */
  restart(options: Partial<SceneOptions> = {}): void {
    Object.assign(this.options, options);
    this.engine.io.kill();
    this.home.closeAll();
    this.start();
  }

  get volume(): Volume {
    return this.engine.volume;
  }

  get journaling(): Journaling {
    return this.volume.journaling!;
  }

  get io(): SimIo {
    return this.engine.io;
  }

  /** Somebody sets the civil clock ahead. */
  setCivilAhead(seconds: number): void {
    this.world.civilAheadS = seconds;
  }

  get civilSeconds(): number {
    return this.world.civil().seconds;
  }

  /** Calls `done` after `us` microseconds. */
  after(us: number, done: () => void): void {
    this.world.after(us, done);
  }

  until(what: string, isSo: () => boolean): void {
    for (let turns = 0; !isSo(); turns++) {
      if (turns === TURNS_MAX) throw new Error(`it does not come to it that ${what}`);
      this.engine.turn(this.world.nowUs() + TURN_US);
    }
  }

  /** Lets `us` microseconds pass. */
  pass(us: number): void {
    const end = this.world.nowUs() + us;
    while (this.world.nowUs() < end) this.engine.turn(end);
  }

  /** What `begin` calls back with. */
  result<T>(begin: (done: (result: T) => void) => void): T {
    const got: T[] = [];
    begin((result) => got.push(result));
    this.until("it is answered", () => got.length > 0);
    return got[0]!;
  }

  /** Writes `count` blocks from block `first` on, each byte `fill`; what is answered. */
  write(slot: InodeSlot, first: number, count: number, fill: number): number {
    return this.result((done) => this.beginWrite(slot, first, count, fill, done));
  }

  /** The same; `done` gets what is answered, perhaps later. */
  beginWrite(slot: InodeSlot, first: number, count: number, fill: number, done: (result: number) => void): void {
    const { allocator } = this.volume.cache;
    const taken = new Int32Array(count);
    this.until("there are frames", () => allocator.ready());
    allocator.take(count, taken);
    const { slab } = this.slab;
    for (const frame of taken as unknown as FrameNo[]) {
      const at = slab.frameIndex(frame);
      slab.frameView(frame).fill(fill, at, at + BLOCK_BYTES);
    }
    const answered = this.volume.write(slot, first * BLOCK_BYTES, count * BLOCK_BYTES, taken, () => done);
    if (answered !== PARKED) done(answered);
  }

  flush(slot: InodeSlot): number {
    return this.result((done) => this.volume.flush(slot, false, done));
  }

  /** Every device flush of the file of `slot` fails until the function that is returned is called. */
  failFlushes(slot: InodeSlot): () => void {
    const { io } = this;
    const fsync = io.fsync.bind(io);
    io.fsync = (fd, dataOnly, done) => {
      if (this.home.file(fd).slot === slot) this.after(100, () => done(-5));
      else fsync(fd, dataOnly, done);
    };
    return () => {
      io.fsync = fsync;
    };
  }

  /** Every home write of the file of `slot` begins `us` microseconds late. */
  slowWrites(slot: InodeSlot, us: number): void {
    const { io } = this;
    const writev = io.writev.bind(io);
    io.writev = (fd, ...call) => {
      if (this.home.file(fd).slot === slot) this.after(us, () => writev(fd, ...call));
      else writev(fd, ...call);
    };
  }

  /** What recovery makes of all files when the power is cut now and nothing reaches the devices that was not flushed. */
  recovered(): Map<InodeSlot, Recovered> {
    const files = new Map(
      Array.from(this.home.files, ([slot, file]) => [slot, { bytes: file.durable.copy(), size: file.durableSize }]),
    );
    this.journal.recover(files, this.journal.file.durable.copy());
    return files;
  }
}
