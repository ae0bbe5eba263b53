/** The parts of a volume: makes them, and gives each what it asks of the others. */
import type { Clock } from "../base/clock.ts";
import { CivilTime, Ticker } from "../base/clock.ts";
import { LANDING_FRAMES } from "../base/limits.ts";
import type { Timers } from "../base/timers.ts";
import { type InodeSlot } from "../base/units.ts";
import { FrameAllocator } from "../cache/allocator.ts";
import { FrameTable } from "../cache/frames.ts";
import { ImageFlag, ImageTable } from "../cache/image.ts";
import { Image } from "../cache/images.ts";
import { noteHome } from "../cache/note.ts";
import type { Slab } from "../cache/slab.ts";
import { WriteCache } from "../cache/write-cache.ts";
import type { Home } from "../device/home-file.ts";
import { LruPolicy } from "../policy/lru.ts";
import type { Policy } from "../policy/policy.ts";
import type { Counters } from "../stats/counters.ts";
import type { Io } from "../sys/io.ts";
import type { HomeDevice } from "../writeback/devices.ts";
import { Pressure } from "../writeback/pressure.ts";
import { Writer } from "../writeback/writer.ts";
import { Admission } from "./admission.ts";
import { Drain } from "./drain.ts";
import type { Durability } from "./durability.ts";
import type { DurabilityMode } from "./durability-context.ts";
import { Gates } from "./gates.ts";
import { Journaling, type OpenJournal } from "./journaling.ts";
import { OpenImages } from "./open-images.ts";
import { Reader } from "./reader.ts";
import { NO_JOURNAL, Reshape } from "./reshape.ts";
import { Seeker } from "./seek.ts";
import { Space } from "./space.ts";
import { Through } from "./through.ts";

export interface VolumeOptions {
  slab: Slab;
  counters: Counters;
  clock: Clock;
  timers: Timers;
  io: Io;
  home: Home;
  dirtyLimit: number;
  /** False: writes go through to the backing files, by way of its page cache. */
  cache: boolean;
  /** Without one, flushes take their image home. */
  journal?: OpenJournal | undefined;
  /** What flushes promise from the start. */
  durability?: DurabilityMode;
  /** For the log: somebody else has changed an image beneath its unsaved data; nothing is heard of one's device; a home operation failed. */
  changed?: (image: Image, difference: string) => void;
  stalled?: (image: Image, isStalled: boolean) => void;
  failed: (image: Image, what: string, result: number) => void;
}

/** What most parts ask for. */
interface Shared {
  readonly cache: WriteCache;
  readonly slab: Slab;
  readonly io: Io;
  readonly counters: Counters;
  readonly timers: Timers;
  readonly clock: Clock;
  readonly ticker: Ticker;
  readonly space: Space;
  nowUs(): number;
}

export class VolumeParts {
  readonly cache: WriteCache;
  readonly policy: Policy;
  readonly pressure: Pressure;
  readonly writer: Writer;
  readonly reader: Reader;
  readonly drain: Drain;
  readonly journaling: Journaling | undefined;
  /** Dirty data older than this goes home, microseconds; 0: no limit. */
  maxAgeUs = 0;
  protected readonly options: VolumeOptions;
  protected readonly table: ImageTable;
  protected readonly ticker: Ticker;
  protected readonly images: OpenImages;
  protected readonly gates: Gates;
  protected readonly space: Space;
  protected readonly admission: Admission;
  protected readonly through: Through | undefined;
  protected readonly reshape: Reshape;
  protected readonly seeker: Seeker;
  protected readonly frameWaiters: (() => void)[] = [];
  private readonly civil: CivilTime;
  private readonly shared: Shared;
  /** Without a journal; else `Durability` knows. */
  protected mode: DurabilityMode = "sync";

  constructor(options: VolumeOptions) {
    const { slab, counters, clock, timers, io } = options;
    this.options = options;
    this.table = new ImageTable(slab.inodes());
    this.ticker = new Ticker(clock);
    this.civil = new CivilTime(clock);
    const frames = new FrameTable(slab.frames, slab.rows());
    const allocator = new FrameAllocator(slab.frames, slab.framesAddress);
    const policy = new LruPolicy(frames);
    const nowUs = (): number => clock.nowUs();
    this.policy = policy;
    this.cache = new WriteCache(slab, frames, allocator, policy, counters);
    this.pressure = new Pressure(slab.frames, options.dirtyLimit);
    this.reader = new Reader({
      cache: this.cache,
      slab,
      io,
      counters,
      clock,
      device: (image) => this.deviceOf(image),
    });
    this.space = new Space(frames, nowUs, () => this.durability?.changing());
    this.seeker = new Seeker(frames);
    this.shared = {
      cache: this.cache,
      slab,
      io,
      counters,
      timers,
      clock,
      nowUs,
      ticker: this.ticker,
      space: this.space,
    };
    this.writer = this.makeWriter(policy);
    this.writer.draining = !options.cache;
    this.images = this.makeImages();
    this.gates = new Gates(
      (image) => image.homeWrites > 0 || image.homeReads > 0 || this.writer.isFlushing(image),
      (image) => this.writer.reopened(image),
    );
    this.admission = this.makeAdmission();
    const open = (slot: InodeSlot): Image | number => this.open(slot);
    const throughContext = { ...this.shared, gates: this.gates, open };
    this.through = options.cache ? undefined : new Through(throughContext, LANDING_FRAMES);
    this.reshape = this.makeReshape();
    this.drain = new Drain({
      writer: this.writer,
      images: () => this.images.values(),
      flushHome: (image, done) => this.takeHome(image, done),
      isOutrun: (image) => this.durability?.isOutrun(image) ?? false,
      whenVoid: (done) => (this.durability === undefined ? done(0) : this.durability.whenVoid(done)),
      openLive: () => this.durability?.openLive() ?? 0,
      isSettled: (image) => this.isSettled(image),
    });
    this.mode = options.durability ?? "sync";
    this.journaling = options.journal && this.makeJournaling(options.journal, frames);
  }

  /** Takes all of `image` home and flushes its device, whatever the durability mode. */
  protected takeHome(image: Image, done: (result: number) => void): void {
    if (this.durability !== undefined) this.durability.takeHome(image, done);
    else this.writer.flush(image, this.ticker.tick(), false, done);
  }

  private makeWriter(policy: Policy): Writer {
    const { options } = this;
    return new Writer({
      ...this.shared,
      policy,
      pressure: this.pressure,
      image: (slot) => this.images.get(slot),
      maxAgeUs: () => this.maxAgeUs,
      extensionRun: () => this.durability?.extensionRun ?? 0,
      failed: options.failed,
      changed: options.changed ?? (() => undefined),
      stalled: options.stalled ?? (() => undefined),
      settled: (image) => this.space.close(image.slot),
      flushing: (image) => this.durability?.flushingAtHome(image),
      flushed: (image, succeeded) => this.durability?.flushedAtHome(image, succeeded),
      writing: () => this.journaling?.journal.keepLease(),
    });
  }

  private makeImages(): OpenImages {
    return new OpenImages({
      ...this.shared,
      make: (slot) => this.make(slot),
      whenClean: (image, clean) => this.writer.home(image).whenClean(clean),
      mayClose: (image) => this.mayClose(image),
      flush: (image) => this.takeHome(image, () => undefined),
      closed: (image) => {
        this.space.close(image.slot);
        this.cache.commits.closeExtension(image);
        this.writer.forget(image);
      },
    });
  }

  /**
   * False while a live commit would wait for a file that is closed, a drain pass over what was not flushed of it, or recovery bring back what
   * home has outrun.
   */
  protected mayClose(image: Image): boolean {
    const isFlushed = !image.hasFlag(ImageFlag.shape) && (this.journaling?.mayClose(image) ?? true);
    return isFlushed && this.durability?.isOutrun(image) !== true;
  }

  private makeAdmission(): Admission {
    return new Admission({
      ...this.shared,
      pressure: this.pressure,
      gates: this.gates,
      reader: this.reader,
      open: (slot) => this.open(slot),
      growing: (image, end) => this.growing(image, end),
      isFull: () => this.durability?.isFull ?? false,
      isHeld: (image, offset, end) => this.durability?.isHeld(image, offset, end) ?? false,
      hasSeveralDevices: () => this.writer.devices.all.length > 1,
      isCrowding: (image) => this.deviceOf(image) === this.writer.devices.crowding,
      failingBlocks: () => this.failingBlocks,
    });
  }

  private deviceOf(image: Image): HomeDevice {
    return this.writer.home(image).device;
  }

  private get failingBlocks(): number {
    let blocks = 0;
    for (const image of this.images.values()) if (image.hasFlag(ImageFlag.failing)) blocks += image.blocks;
    return blocks;
  }

  private makeReshape(): Reshape {
    return new Reshape({
      ...this.shared,
      gates: this.gates,
      civil: () => this.options.clock.civil(),
      device: (image) => this.deviceOf(image),
      whenFrames: (use) => this.whenFrames(use),
      clean: (image, done) => this.writer.flush(image, this.ticker.tick(), true, done),
      journal: () => this.durability ?? NO_JOURNAL,
    });
  }

  private makeJournaling(journal: OpenJournal, frames: FrameTable): Journaling {
    const context = {
      ...this.shared,
      frames,
      table: this.table,
      writer: this.writer,
      images: () => this.images.values(),
      image: (slot: InodeSlot) => this.images.get(slot),
      open: (slot: InodeSlot) => this.open(slot),
      dirtyLimit: () => this.pressure.limit,
      isCrowded: () => this.admission.isCrowded,
    };
    return new Journaling(context, journal, this.mode);
  }

  /** What flushes promise, with a journal. */
  get durability(): Durability | undefined {
    return this.journaling?.durability;
  }

  /** The image at `slot`, its backing file opened if need be; or a negated error number. */
  open(slot: InodeSlot): Image | number {
    return this.images.open(slot);
  }

  private make(slot: InodeSlot): Image | number {
    const file = this.options.home.open(slot);
    if (typeof file === "number") return file;
    if (this.through !== undefined) file.giveUpDirect();
    for (const fd of file.descriptors) this.options.io.prepare(fd);
    const image = new Image(slot, this.cache.frames, this.table, file);
    this.writer.opened(image);
    this.journaling?.opened(image);
    return image;
  }

  /** All images in use. */
  get openImages(): IterableIterator<Image> {
    return this.images.values();
  }

  private growing(image: Image, end: number): void {
    if (!image.hasFlag(ImageFlag.firm | ImageFlag.loose) && this.isHome(image)) noteHome(image);
    image.growTo(end);
    const civilUs = this.civil.lastUs();
    const seconds = Math.floor(civilUs / 1e6);
    image.touch(seconds, Math.floor((civilUs - seconds * 1e6) * 1e3));
  }

  protected isSettled(image: Image): boolean {
    return this.isHome(image) && !image.hasFlag(ImageFlag.size | ImageFlag.mtime);
  }

  /** All of it is home but perhaps its time. */
  private isHome(image: Image): boolean {
    return image.blocks === 0 && image.homeWrites === 0 && image.homeSize >= image.size;
  }

  private whenFrames(use: () => void): void {
    if (this.cache.allocator.readyForOne()) use();
    else this.frameWaiters.push(use);
  }
}
