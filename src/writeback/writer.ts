/**
 * The background writer: takes dirty blocks home. `pump` is called once a turn of the loop and begins what may begin:
 * first what flushes wait for, then what is too old or too much, in sorted sweeps, joined into runs; then the device
 * flushes that make written blocks free. It never waits.
 *
 * Home writes never overlap: a run takes only blocks that no other run in flight covers.
 */
import { assert } from "../base/assert.ts";
import { E } from "../base/errno.ts";
import { HOME_WRITES_BESIDE_READS, HOME_WRITES_MAX } from "../base/limits.ts";
import { type FrameNo, type InodeSlot, type Instant } from "../base/units.ts";
import { FrameState, NONE } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { Slab } from "../cache/slab.ts";
import type { Policy } from "../policy/policy.ts";
import { Counter } from "../stats/counters.ts";
import { Choice } from "./choice.ts";
import { DeviceFlushes } from "./device-flushes.ts";
import { type HomeDevice, HomeDevices } from "./devices.ts";
import { type HomeContext, ImageHome } from "./image-home.ts";
import { Pacer } from "./pacer.ts";
import type { Pressure } from "./pressure.ts";
import { Run, RunBuilder } from "./run.ts";
import { Sweep } from "./sweep.ts";

/** Blocks chosen for one sweep: enough for long runs, few enough to sort in a millisecond. */
const SWEEP_BLOCKS = 8192;

export interface WriterContext extends HomeContext {
  readonly policy: Policy;
  readonly pressure: Pressure;
  readonly slab: Slab;
  /** The image in use at `slot`; undefined only if nothing of it is dirty. */
  image(slot: InodeSlot): Image | undefined;
  /** Oldest age of dirty data, microseconds; 0: no limit. */
  maxAgeUs(): number;
  /** Blocks of an image's extension that go home together (`volume/extending.ts`). */
  extensionRun(): number;
  /** Told of each home write that begins. */
  writing(): void;
  /** Of `image` nothing is heard any more, or it has come to life again: tell people. */
  stalled(image: Image, isStalled: boolean): void;
}

export class Writer {
  /** Everything goes home: a drain was asked for, or the end is near. */
  draining = false;
  readonly pacer: Pacer;
  private readonly context: WriterContext;
  readonly devices: HomeDevices;
  private readonly homes = new Map<Image, ImageHome>();
  /** Images whose flush waits for dirty blocks. */
  private readonly urgent = new Set<ImageHome>();
  private readonly active: Run[] = [];
  private readonly idle: Run[] = [];
  private readonly builder: RunBuilder;
  private readonly sweep = new Sweep();
  private readonly chosen = new Int32Array(SWEEP_BLOCKS);
  private readonly choice: Choice;
  private readonly deviceFlushes: DeviceFlushes;
  private inflightBlocks = 0;

  constructor(context: WriterContext) {
    this.context = context;
    this.builder = new RunBuilder(context.cache, context.slab, this.active);
    this.pacer = new Pacer(context);
    this.devices = new HomeDevices({
      timers: context.timers,
      pressure: context.pressure,
      nowUs: () => context.nowUs(),
      homes: () => this.homes.values(),
      beganUs: (home) => this.beganUs(home),
      stalled: (image, isStalled) => context.stalled(image, isStalled),
    });
    const { devices, homes, pacer } = this;
    this.deviceFlushes = new DeviceFlushes({ ...context, devices, homes, pacer, isPressed: () => this.isPressed });
    this.choice = new Choice({
      ...context,
      devices,
      homes,
      inflightBlocks: () => this.inflightBlocks,
      isDraining: () => this.draining,
      mayGo: (image, frame) => this.mayGo(image, frame),
    });
  }

  /** `image` was opened: from now on its age counts. */
  opened(image: Image): void {
    const device = this.devices.at(image.file.device);
    this.homes.set(image, new ImageHome(image, device, this.context, (hurried) => this.urgent.add(hurried)));
  }

  isOpen(image: Image): boolean {
    return this.homes.has(image);
  }

  /** The way home of `image`. One that is closed has none: its descriptors may be another file's by now. */
  home(image: Image): ImageHome {
    const home = this.homes.get(image);
    assert(home !== undefined, "a closed image has no way home");
    return home;
  }

  /** Nothing has been heard of its home for long, or of another that has all home writes of its device. */
  isStalled(image: Image): boolean {
    const home = this.homes.get(image);
    if (home === undefined || !home.device.hasStalled) return false;
    const isKept = home.device.writes >= HOME_WRITES_MAX && this.beganUs(home) === Number.POSITIVE_INFINITY;
    return home.isStalled || isKept;
  }

  /** That is so of any image. */
  get hasStalled(): boolean {
    return this.devices.all.some((device) => device.hasStalled);
  }

  /** Since when nothing is heard of what is under way at this home, microseconds; Infinity without any. */
  private beganUs(home: ImageHome): number {
    return Math.min(home.quietSinceUs, this.oldestRun(home.image)?.beganUs ?? Number.POSITIVE_INFINITY);
  }

  /** A device flush of `image` is under way. */
  isFlushing(image: Image): boolean {
    return this.homes.get(image)?.flushActive === true;
  }

  /** The image is closed: nothing of it is dirty or in flight. */
  forget(image: Image): void {
    const home = this.homes.get(image);
    if (home === undefined) return;
    this.urgent.delete(home);
    this.homes.delete(image);
    home.close();
  }

  /** The gate at `image` is open again, or lets what goes home pass: goes on where it was passed over. */
  reopened(image: Image): void {
    const home = this.homes.get(image);
    if (home === undefined) return;
    home.relist();
    home.advance();
    home.settle();
    home.note();
    if (home.isUrgent) this.urgent.add(home);
  }

  /** Brings the time of `image` home if all else is. */
  settle(image: Image): void {
    this.homes.get(image)?.settle(true);
  }

  /** Flushes wait for dirty blocks. */
  get hasUrgent(): boolean {
    return this.urgent.size > 0;
  }

  /** Home writes in flight. */
  get inflight(): number {
    return this.active.length;
  }

  /** No home write is in flight on `device`, and none is about to be. */
  private readonly isQuiet = (device: HomeDevice): boolean =>
    device.writes === 0 && device.sweep.isEmpty && (this.sweep.isEmpty || this.deviceOf(this.sweep) !== device);

  /** Where the sweep's next block goes; undefined: nowhere, as its image is gone. */
  private deviceOf({ slot }: Sweep): HomeDevice | undefined {
    const image = this.context.image(slot);
    return image && this.home(image).device;
  }

  private oldestRun(image: Image): Run | undefined {
    return this.active.find((run) => run.image === image);
  }

  /** Begins what may begin now. */
  pump(): void {
    this.pumpUrgent();
    this.pumpBackground();
    this.deviceFlushes.pump(this.isQuiet);
  }

  private pumpUrgent(): void {
    for (const home of this.urgent) {
      if (!home.isUrgent) {
        this.urgent.delete(home);
        continue;
      }
      while (home.device.writes < HOME_WRITES_MAX && !home.isPaused && this.fillUrgentSweep(home)) {
        this.startFrom(home.sweep, true);
      }
    }
  }

  /** Chooses the next blocks that this image's flush waits for. False if all are on their way. */
  private fillUrgentSweep(home: ImageHome): boolean {
    if (!home.sweep.isEmpty) return true;
    const { frames } = this.context.cache;
    const list = home.image.dirty;
    let count = 0;
    for (let frame = list.head; frame !== NONE && count < SWEEP_BLOCKS; frame = list.after(frame)) {
      if (frames.since(frame) > home.wantedSince) break;
      if (this.mayGo(home.image, frame)) this.chosen[count++] = frame;
    }
    if (count === 0) return false;
    home.sweep.load(frames, this.chosen, count);
    return true;
  }

  /** False if the frame is on its way, is not yet allowed to go, or must wait for an older frame of its block that is being written. */
  private mayGo(image: Image, frame: FrameNo): boolean {
    const { cache } = this.context;
    if (cache.frames.state(frame) !== FrameState.dirty || !cache.commits.mayGo(image, frame)) return false;
    const block = cache.frames.block(frame);
    return !this.active.some((run) => run.covers(image, block));
  }

  private pumpBackground(): void {
    while (this.devices.all.some(this.hasTurn)) {
      const sweep = this.nextSweep();
      if (sweep === undefined) return;
      if (!this.draining && !this.pacer.mayWrite()) return;
      this.startFrom(sweep, false);
    }
  }

  /** Another home write may begin on the device. */
  private readonly hasTurn = ({ reads, writes }: HomeDevice): boolean =>
    writes < (reads > 0 && !this.isPressed ? HOME_WRITES_BESIDE_READS : HOME_WRITES_MAX);

  /** The sweep whose next block may go; undefined: none may, or there is none. */
  private nextSweep(): Sweep | undefined {
    const { chosen, choice, devices, sweep } = this;
    for (const device of devices.all) if (!device.sweep.isEmpty && this.hasTurn(device)) return device.sweep;
    if (sweep.isEmpty && !this.fill(sweep, choice.choose(chosen))) return undefined;
    const next = this.deviceOf(sweep);
    if (next === undefined || this.hasTurn(next)) return sweep;
    for (const device of devices.all)
      if (this.hasTurn(device) && this.fill(device.sweep, choice.chooseFor(device, chosen))) return device.sweep;
    return undefined;
  }

  /** Writers are being delayed: reads no longer come first. */
  private get isPressed(): boolean {
    return this.context.pressure.delayUs(this.context.cache.blocks, 1) > 0;
  }

  /** False if nothing was chosen. */
  private fill(sweep: Sweep, count: number): boolean {
    if (count === 0) return false;
    sweep.load(this.context.cache.frames, this.chosen, count);
    return true;
  }

  /** When the next dirty block reaches the age limit; Infinity if none will. */
  get nextAgeUs(): number {
    return this.choice.nextAgeUs;
  }

  /** Since when the oldest dirty block waits; Infinity when none does. */
  oldestSince(): number {
    const { frames } = this.context.cache;
    let oldest = Number.POSITIVE_INFINITY;
    for (const { image } of this.homes.values()) {
      if (image.dirty.head !== NONE) oldest = Math.min(oldest, frames.since(image.dirty.head));
    }
    return oldest;
  }

  /** Starts a run at the sweep's next block, if that still has to go. */
  private startFrom(sweep: Sweep, urgent: boolean): void {
    const { slot, block } = sweep;
    sweep.advance();
    const image = this.context.image(slot);
    if (image === undefined) return;
    const home = this.home(image);
    if (home.isPaused) return; // left unlisted; listed again when that ends
    const frame = this.context.cache.find(slot, block);
    if (frame === NONE) return;
    if (!urgent && this.context.policy.isListed(frame)) return; // written again since it was chosen: hot
    const run = this.idle.pop() ?? new Run();
    if (!this.builder.claim(run, image, block)) {
      this.idle.push(run); // an older frame of the block is in flight; when that ends the block is offered again
      return;
    }
    run.urgent = urgent;
    this.begin(run);
  }

  private begin(run: Run): void {
    const { cache, policy } = this.context;
    for (let i = 0; i < run.count; i++) {
      const frame = run.frames[i] as FrameNo;
      policy.removed(frame);
      cache.beginHomeWrite(frame);
    }
    const home = this.home(run.image);
    this.active.push(run);
    this.inflightBlocks += run.count;
    run.image.homeWrites++;
    run.beganUs = this.context.nowUs();
    home.device.writes++;
    home.device.watch();
    home.begin();
    this.context.writing();
    run.failedFlushes = home.failedFlushes;
    this.writePiece(run);
  }

  private writePiece(run: Run): void {
    const piece = run.pieces[0];
    if (piece === undefined) {
      this.end(run, 0);
      return;
    }
    const refused = run.image.file.makeWritable(); // of an image that an earlier engine had open
    if (refused < 0) {
      this.end(run, refused);
      return;
    }
    const at = piece.offset + run.done;
    const left = piece.length - run.done;
    const fd = run.image.file.fdFor(at, left);
    const direct = run.image.file.isDirect(fd);
    const home = this.home(run.image);
    if (at + left > run.image.homeSize) {
      home.growth.to(at + left, (result) => (result < 0 ? this.end(run, result) : this.writePiece(run)));
      return;
    }
    const { lanes } = home;
    if (!lanes.enter(() => this.writePiece(run), direct)) return;
    const iov = run.iov.address + run.iovFirst * 16;
    this.context.counters.at[Counter.writebackIos]! += 1;
    this.context.io.writev(fd, iov, run.iovCount, at, (result) => {
      for (const again of lanes.leave(direct)) again();
      this.wrote(run, fd, left, result);
    });
  }

  private wrote(run: Run, fd: number, wanted: number, result: number): void {
    const { file } = run.image;
    if (result === -E.EINVAL && file.isDirect(fd)) {
      file.giveUpDirect();
      this.writePiece(run);
      return;
    }
    if (result <= 0) {
      this.end(run, result === 0 ? -E.EIO : result);
      return;
    }
    this.context.counters.at[Counter.writebackBytes]! += result;
    this.pacer.wrote(result, run.urgent);
    run.image.unflushed = true;
    if (result < wanted) {
      const first = run.iov.advance(run.iovFirst, run.iovCount, result);
      run.iovCount -= first - run.iovFirst;
      run.iovFirst = first;
      run.done += result;
    } else {
      const piece = run.pieces.shift()!;
      run.image.homeSize = Math.max(run.image.homeSize, piece.offset + piece.length);
      if (run.pieces.length > 0) this.builder.aim(run);
    }
    this.writePiece(run);
  }

  private end(run: Run, result: number): void {
    const { cache } = this.context;
    const { image } = run;
    this.active.splice(this.active.indexOf(run), 1);
    this.inflightBlocks -= run.count;
    image.homeWrites--;
    const home = this.home(image);
    home.device.writes--;
    const isHome = result === 0 && run.failedFlushes === home.failedFlushes;
    for (let i = 0; i < run.count; i++) cache.endHomeWrite(image, run.frames[i] as FrameNo, isHome);
    this.idle.push(run);
    if (result < 0) home.fail("write", result);
    else home.advance();
    home.settle();
  }

  /** True when nothing is dirty, in flight or unsettled. */
  get isClean(): boolean {
    return this.context.cache.blocks === 0 && this.active.length === 0;
  }

  /** A flush of `image`: `done` gets 0 or a negated error number. Of one that was closed nothing is left to flush. */
  flush(image: Image, since: Instant, dataOnly: boolean, done: (result: number) => void): void {
    const home = this.homes.get(image);
    if (home === undefined) done(0);
    else home.flush(since, dataOnly, done);
  }
}
