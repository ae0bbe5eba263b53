/** One engine's life: the real Volume over the slab and the simulated world, and the loop as `engine/engine.ts` turns it. */
import { openSync, unlinkSync } from "node:fs";
import { Timers } from "../../src/base/timers.ts";
import { BLOCK_BYTES, type FrameNo } from "../../src/base/units.ts";
import { ImageFlag } from "../../src/cache/image.ts";
import { createSlab, INODE_BYTES, Slab } from "../../src/cache/slab.ts";
import { Counter, Counters } from "../../src/stats/counters.ts";
import type { DurabilityMode } from "../../src/volume/durability-context.ts";
import { Volume } from "../../src/volume/volume.ts";
import type { SimHome } from "./home.ts";
import type { SimJournal } from "./journal.ts";
import { reuseMemory, shareMemory, withViewsKept } from "./memory.ts";
import { type Faults, SimIo } from "./sim-io.ts";
import { must, type World } from "./world.ts";

const POISON = 0xdb;
/** Turns in a row in which nothing happens and the loop does not sleep. */
const SPINS_MAX = 50;

/** A slab of the smallest size in shared memory, without a name; `wipe` makes it new again. */
export class SimSlab {
  readonly slab: Slab;
  /** Frames that may have other bytes than those of a freed one: 1. */
  readonly used: Uint8Array;

  constructor() {
    const path = `/dev/shm/hypegear-sim-${process.pid}`;
    const fd = openSync(path, "w+", 0o600);
    unlinkSync(path);
    createSlab(fd, 2048 * BLOCK_BYTES, "simulated");
    this.slab = Slab.open(fd);
    this.used = new Uint8Array(this.slab.frames).fill(1);
    withViewsKept(this.slab["mapping"]);
    shareMemory();
  }

  /** `inodes`: how many records a history uses. */
  wipe(inodes: number): void {
    new Uint8Array(this.slab.rows()).fill(0);
    this.slab.counters().fill(0);
    new Uint8Array(this.slab.inodes(), 0, inodes * INODE_BYTES).fill(0);
  }
}

export interface Tuning {
  dirtyLimit: number;
  latencyUs: number;
  faults: Faults;
  mode: DurabilityMode;
  lossWindowUs: number;
  device: "hdd" | "ssd";
  /** False: writes go through to the backing files. */
  cache?: boolean;
}

export class SimEngine {
  readonly volume: Volume;
  readonly io: SimIo;
  readonly counters: Counters;
  readonly failures: string[] = [];
  private readonly timers = new Timers();
  private readonly world: World;
  private readonly home: SimHome;
  private spins = 0;

  constructor(world: World, home: SimHome, simSlab: SimSlab, tuning: Tuning, journal: SimJournal | undefined) {
    reuseMemory();
    const { slab } = simSlab;
    this.world = world;
    this.home = home;
    this.io = new SimIo(world, home, tuning.faults, tuning.latencyUs);
    this.counters = new Counters(slab.counters());
    this.volume = new Volume({
      slab,
      counters: this.counters,
      clock: world,
      timers: this.timers,
      io: this.io,
      home,
      dirtyLimit: tuning.dirtyLimit,
      cache: tuning.cache ?? true,
      durability: tuning.mode,
      journal: journal?.isVoid === false ? journal.open() : undefined,
      changed: (image, difference) =>
        must(false, () => `image ${image.slot} seems changed by somebody else: ${difference}`),
      failed: (image, what, result) => world.note(() => `    image ${image.slot}: ${what} failed: ${result}`),
    });
    this.poisonFreed(simSlab);
    const { durability, journaling } = this.volume;
    if (journaling !== undefined) journaling.router.device = tuning.device;
    if (durability !== undefined) durability.window.lengthUs = tuning.lossWindowUs;
    const { lost } = this.volume.restore((slot) => home.files.has(slot), home.files.keys());
    must(lost.size === 0, () => "a restart lost an image");
    for (const slot of home.files.keys()) this.volume.endBegun(slot);
  }

  /** Whoever still reads a freed frame reads 0xdb. */
  private poisonFreed({ slab, used }: SimSlab): void {
    const { allocator } = this.volume.cache;
    const release = allocator.release.bind(allocator);
    allocator.release = (frame: FrameNo) => {
      const at = slab.frameIndex(frame);
      if (used[frame] === 1) slab.frameView(frame).fill(POISON, at, at + BLOCK_BYTES);
      used[frame] = 0;
      release(frame);
    };
    const take = allocator.take.bind(allocator);
    allocator.take = (count: number, into: Int32Array) => {
      take(count, into);
      for (let i = 0; i < count; i++) used[into[i]!] = 1;
    };
  }

  /** One turn of the loop, sleeping until `untilUs` at the most. False if nothing can ever happen again by itself. */
  turn(untilUs: number): boolean {
    this.timers.runDue(this.world.nowUs());
    this.volume.pump();
    const dueUs = Math.min(this.timers.nextUs, this.volume.nextUs);
    const limitUs = Math.min(dueUs, untilUs);
    if (limitUs === Number.POSITIVE_INFINITY && this.world.nextUs === Number.POSITIVE_INFINITY) return false;
    const before = this.world.nowUs();
    const happened = this.world.happened;
    this.io.wait(Math.max(0, limitUs - before));
    const idle = this.world.nowUs() === before && this.world.happened === happened && untilUs > before;
    this.spins = idle ? this.spins + 1 : 0;
    must(this.spins < SPINS_MAX, () => "the loop spins: it is told to wake at once, and has nothing to do");
    return true;
  }

  /** A cut or fallocate that an engine before had begun has not ended. */
  get isReshaping(): boolean {
    return [...this.home.files.keys()].some(
      (slot) => (this.volume["table"].flags(slot) & (ImageFlag.cut | ImageFlag.allocation)) !== 0,
    );
  }

  /** What can be counted two ways is. */
  checkCounts(parkedFrames: number): void {
    const { at } = this.counters;
    const { cache } = this.volume;
    const sum =
      at[Counter.absorbedRewriteBlocks]! +
      at[Counter.absorbedDiscardBlocks]! +
      at[Counter.writebackBlocks]! +
      cache.blocks;
    must(
      this.volume.writer.inflight > 0 || at[Counter.writeBlocks] === sum,
      () => `counters: ${at[Counter.writeBlocks]} blocks written, ${sum} accounted for`,
    );
    let used = 0;
    for (let frame = 0; frame < cache.frames.count; frame++) if (cache.frames.state(frame as FrameNo) !== 0) used++;
    const total = cache.allocator.free + used + parkedFrames;
    must(total === cache.frames.count, () => `frames: ${total} of ${cache.frames.count} are accounted for`);
  }
}
