/** One history from one seed: requests, faults, kills, and in the end everything home or the power gone. */

import { E } from "../../src/base/errno.ts";
import type { Slab } from "../../src/cache/slab.ts";
import type { DurabilityMode } from "../../src/volume/durability-context.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { SimEngine, type SimSlab } from "./engine.ts";
import { type GuestContext, Guests } from "./guests.ts";
import { SimHome } from "./home.ts";
import { reusePages } from "./paged.ts";
import { ceased, type Drawn, type Plan, planOf } from "./plan.ts";
import { Promises } from "./promises.ts";
import { Random } from "./random.ts";
import { Change, Copy, type FlushPromise, Read, type Request, type SimImage } from "./requests.ts";
import { Killed } from "./sim-io.ts";
import { must, World } from "./world.ts";

const STEPS_PER_REQUEST = 30;
const TURNS_MAX = 60_000;
/** Chance of a home operation to begin a stall. */
const STALLS = 0.2;
/** After faults have ceased, all is home within this time: the longest pause of a retry is 10 s. */
const PATIENCE_US = 120e6;

export class History implements GuestContext {
  readonly world: World;
  private readonly random: Random;
  private readonly plan: Plan;
  readonly slab: Slab;
  readonly home = new SimHome();
  /** Requests that were sent and not yet answered. */
  readonly open = new Set<Request>();
  private readonly simSlab: SimSlab;
  private readonly guests: Guests;
  private engine: SimEngine;
  private issued = 0;
  /** Home operations, drains and such that are waited for. */
  private waiting = 0;
  /** Waits for an image to be clean: new writes may put that off until the end. */
  private unclean = 0;
  private generation = 0;
  private isHealthy = false;
  private killAtUs = Number.POSITIVE_INFINITY;
  private readonly promises: Promises;

  constructor(seed: number, slab: SimSlab, keepsHistory: boolean, drawn: Drawn) {
    reusePages();
    this.random = new Random(seed);
    this.plan = planOf(this.random, drawn);
    this.world = new World(this.random, keepsHistory);
    this.simSlab = slab;
    this.slab = slab.slab;
    slab.wipe(64);
    this.home.freeBlocks = this.plan.freeBlocks;
    this.home.hasTwoDevices = this.plan.stalls;
    this.guests = new Guests(this.random, this.plan, this);
    this.promises = new Promises(this.world, this.home, this.plan, () => this.guests.images);
    this.world.note(() => `plan ${JSON.stringify(this.plan)}`);
    if (this.plan.kills > 0 && this.promises.journal !== undefined) this.promises.journal.deaths = new Random(seed + 1);
    this.engine = this.start();
  }

  private start(): SimEngine {
    const { dirtyLimit, latencyUs, faults } = this.plan;
    const engine = new SimEngine(
      this.world,
      this.home,
      this.simSlab,
      {
        dirtyLimit,
        latencyUs,
        faults: this.isHealthy ? ceased(faults) : faults,
        mode: this.promises.inForce,
        lossWindowUs: this.plan.lossWindowUs,
        device: this.plan.device,
      },
      this.promises.journal,
    );
    this.promises.attach(engine.volume);
    if (this.plan.stalls && !this.isHealthy) engine.io.stalls = STALLS;
    return engine;
  }

  promised(): FlushPromise {
    return this.promises.promised();
  }

  become(mode: DurabilityMode): void {
    this.world.note(() => `become ${mode}`);
    this.await((done) => this.promises.become(this.engine.volume, mode, done));
  }

  drain(): void {
    this.world.note(() => "drain");
    this.await((done) => this.promises.drain(this.engine.volume, done));
  }

  moved(image: SimImage): void {
    this.promises.moved(image);
  }

  /** Plays the history. Throws the Violation that it comes to. */
  play(): void {
    const stepsMax = this.plan.requests * STEPS_PER_REQUEST; // requests that hang are found out later
    for (let steps = 0; steps < stepsMax && this.issued < this.plan.requests; steps++) this.protect(() => this.step());
    if (this.plan.powerCut && this.random.chance(0.5)) {
      this.cutPower();
      return;
    }
    this.recover();
    this.settle();
    if (this.plan.powerCut) this.cutPower();
    else this.finish();
  }

  /** One request, or some time passes. */
  private step(): void {
    if (this.issued >= this.plan.healthyFrom && !this.isHealthy) this.recover();
    if (this.open.size < this.plan.depth && this.engine.volume.cache.allocator.ready() && this.random.chance(0.7)) {
      this.issued++;
      if (this.random.chance(this.plan.kills)) this.armKill();
      this.guests.next();
    }
    this.turn(this.world.nowUs() + this.random.magnitude(this.plan.thinkUs));
  }

  /** No more faults. */
  private recover(): void {
    this.isHealthy = true;
    this.engine.io.faults = ceased(this.plan.faults);
    this.engine.io.stalls = 0;
    this.world.note(() => "faults have ceased");
  }

  private turn(untilUs: number): boolean {
    if (this.world.nowUs() >= this.killAtUs) throw new Killed();
    return this.engine.turn(Math.min(untilUs, this.killAtUs));
  }

  /** Runs `act`; if the engine is killed in it, starts the next, which is sent what was not answered. */
  private protect(act: () => void): void {
    try {
      act();
    } catch (error) {
      if (!(error instanceof Killed)) throw error;
      this.succeed();
    }
  }

  private armKill(): void {
    if (this.random.chance(0.5)) this.engine.io.submissionsLeft = this.random.magnitude(20);
    else this.killAtUs = this.world.nowUs() + this.random.magnitude(this.plan.latencyUs * 4);
  }

  private succeed(): void {
    this.world.note(() => "the engine is killed");
    this.killAtUs = Number.POSITIVE_INFINITY;
    this.engine.io.kill();
    this.home.closeAll();
    this.generation++;
    this.waiting = 0;
    this.unclean = 0;
    this.engine = this.start();
    this.protect(() => this.guests.discardAgain());
    if (this.random.chance(this.plan.clientDies)) this.loseClient();
    const { generation } = this;
    for (const request of this.random.shuffle([...this.open])) {
      if (generation !== this.generation) return; // killed meanwhile: the next has been sent them all
      request.again();
      this.protect(() => {
        while (!this.engine.volume.cache.allocator.ready()) this.turn(this.world.nowUs() + 1000);
        this.send(request);
      });
    }
  }

  /** Nobody sends again what was under way. A copy is: how far it came before could be anything. */
  private loseClient(): void {
    this.world.note(() => "and so is the client");
    for (const request of Array.from(this.open)) {
      if (request instanceof Copy) continue;
      this.open.delete(request);
      request.lose();
    }
  }

  private send(request: Request): void {
    const { generation } = this;
    this.world.note(() => `-> ${request.what}`);
    request.frames = 0;
    request.send(this.engine.volume, (result) => {
      if (generation !== this.generation) return;
      this.world.note(() => `<- ${request.what}: ${result}`);
      must(!request.answered, () => `${request.what} is answered twice`);
      request.answered = true;
      this.open.delete(request);
      if (request instanceof Change) this.promises.answered();
      this.checkError(request, result);
      request.answer(result);
    });
  }

  begin(request: Request): void {
    this.open.add(request);
    this.send(request);
  }

  private checkError(request: Request, result: number): void {
    if (result >= 0) return;
    const { faults, freeBlocks } = this.plan;
    const full = freeBlocks !== Number.POSITIVE_INFINITY && result === -E.ENOSPC;
    const busy = request instanceof Copy && result === -E.EOPNOTSUPP;
    const faulty =
      faults.writeError + faults.flushError + faults.readError + faults.shapeError > 0 && result === -E.EIO;
    must(full || busy || faulty, () => `${request.what} fails with ${result}, and no fault was put in`);
  }

  await(begin: (done: () => void) => void): void {
    const { generation } = this;
    this.waiting++;
    begin(() => {
      if (generation === this.generation) this.waiting--;
    });
  }

  awaitClean(begin: (done: () => void) => void): void {
    const { generation } = this;
    this.unclean++;
    begin(() => {
      if (generation === this.generation) this.unclean--;
    });
  }

  volume(): Volume {
    return this.engine.volume;
  }

  /** Nothing is waited for, and no engine is still at what its predecessor had begun. */
  private get isSettled(): boolean {
    const isBusy = this.engine.isReshaping || this.promises.isGoingBack;
    return this.open.size === 0 && this.waiting === 0 && !isBusy;
  }

  /** Without further requests, all that were sent are answered. */
  private settle(): void {
    const limitUs = this.world.nowUs() + PATIENCE_US;
    for (let turns = 0; !this.isSettled; turns++) {
      let canGoOn = true;
      this.protect(() => {
        canGoOn = this.turn(Number.POSITIVE_INFINITY);
      });
      if (this.isSettled) break;
      must(canGoOn && turns < TURNS_MAX && this.world.nowUs() < limitUs, () => `these hang: ${this.describeOpen()}`);
    }
    this.checkCounts();
    for (const image of this.guests.images) this.checkSize(image);
  }

  private describeOpen(): string {
    return [...[...this.open].map((request) => request.what), `and ${this.waiting} drains, discards or waits`].join(
      ", ",
    );
  }

  private checkCounts(): void {
    let parked = 0;
    for (const request of this.open) parked += request.frames;
    this.engine.checkCounts(parked);
  }

  private checkSize(image: SimImage): void {
    const opened = this.engine.volume.open(image.slot);
    must(typeof opened !== "number", () => `image ${image.slot} cannot be opened`);
    if (typeof opened !== "number") image.oracle.checkSize(opened.size, () => `image ${image.slot}`);
  }

  /** Everything is read back, taken home, and compared there. */
  private finish(): void {
    this.killAtUs = Number.POSITIVE_INFINITY;
    this.engine.io.submissionsLeft = Number.POSITIVE_INFINITY;
    if (this.promises.journal !== undefined) this.promises.journal.deaths = undefined;
    const { volume } = this.engine;
    for (const image of this.guests.images) {
      for (let at = 0; at < this.plan.capacity; at += 2 ** 20) {
        this.begin(new Read(image, at, Math.min(2 ** 20, this.plan.capacity - at)));
      }
    }
    this.settle();
    if (this.generation > 0) for (const image of this.guests.images) volume.open(image.slot);
    this.await((done) => volume.drain.forGood(done));
    this.settle();
    const { journaling } = volume;
    if (journaling !== undefined && !journaling.durability.isBroken) {
      this.await((done) => journaling.checkpoint.all(done));
      this.settle();
      const { isBroken } = journaling.durability; // only now, by what was under way when faults ceased
      must(isBroken || journaling.ledger.isEmpty, () => "the journal is not empty after a drain");
    }
    while (journaling?.journal.busy === true) this.turn(Number.POSITIVE_INFINITY); // of one that failed: it has frames
    must(volume.cache.blocks === 0, () => `${volume.cache.blocks} blocks are dirty after a drain`);
    must(volume.cache.allocator.free === volume.cache.frames.count, () => "frames are in use after a drain");
    must(this.unclean === 0, () => "an image is clean, and who waited for that was not told");
    for (const image of this.guests.images) this.checkHome(image);
  }

  private checkHome({ slot, file, oracle, mtime }: SimImage): void {
    must(file.size === oracle.size, () => `home of image ${slot} is ${file.size} bytes long, not ${oracle.size}`);
    must(file.durableSize === oracle.size, () => `on the device, image ${slot} is ${file.durableSize} bytes long`);
    for (const [where, bytes] of [
      ["home", file.now],
      ["on the device", file.durable],
    ] as const) {
      const at = bytes.difference(oracle.content, oracle.size);
      must(at < 0, () => `${where}, byte ${at} of image ${slot} is ${bytes.byte(at)}, not ${oracle.content.byte(at)}`);
    }
    must(
      mtime === undefined || file.mtime.seconds === mtime,
      () => `mtime of image ${slot} is ${file.mtime.seconds}, set was ${mtime}`,
    );
  }

  private cutPower(): void {
    this.world.note(() => "the power is gone");
    this.promises.cutPower();
  }
}
