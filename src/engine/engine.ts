/**
 * The engine: everything put together, and the loop. One turn: serve the requests that wait, begin what may begin, run the
 * timers that are due, sleep in `Io.wait` until something happens. It ends when the mount is gone and everything is home.
 */
import { systemClock } from "../base/clock.ts";
import { errnoName } from "../base/errno.ts";
import { HOME_STALLED_US } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { Timers } from "../base/timers.ts";
import type { InodeSlot } from "../base/units.ts";
import { ImageTable } from "../cache/image.ts";
import { Slab } from "../cache/slab.ts";
import { HomeDirectory } from "../device/home-file.ts";
import { contentChanging, killPrivileges } from "../fs/change.ts";
import { Namespace, type NamespaceOptions } from "../fs/context.ts";
import { ControlDirectory } from "../fs/control.ts";
import { imageHandlers } from "../fs/image-operations.ts";
import { Inodes } from "../fs/inodes.ts";
import { Memory } from "../fs/memory.ts";
import { namespaceHandlers } from "../fs/namespace.ts";
import { restoreInodes } from "../fs/settle.ts";
import { Batching } from "../fuse/batching.ts";
import { DevChannel } from "../fuse/channel.ts";
import { Opcode } from "../fuse/constants.ts";
import { Negotiation } from "../fuse/negotiation.ts";
import { type Handler, NO_REPLY, type Request } from "../fuse/request.ts";
import { type ContentChanging, Served, Session } from "../fuse/session.ts";
import { Counter, Counters } from "../stats/counters.ts";
import { imagesDocument, statsDocument } from "../stats/document.ts";
import { renderJson } from "../stats/json.ts";
import { renderPrometheus } from "../stats/prometheus.ts";
import { renderText } from "../stats/text.ts";
import { chooseIo } from "../sys/choose-io.ts";
import { S } from "../sys/constants.ts";
import type { Io } from "../sys/io.ts";
import { Volume } from "../volume/volume.ts";
import { controlCommands } from "./commands.ts";
import { type EngineConfig, EngineFd } from "./config.ts";
import { CpuTime } from "./cpu-time.ts";
import { Figures } from "./figures.ts";
import { openJournal } from "./journal.ts";
import { KeeperLink } from "./keeper-link.ts";
import { pathOf } from "./paths.ts";
import { awaitPredecessor } from "./predecessor.ts";
import { Settings } from "./settings.ts";
import { examine, keepOfMissing, takeAsTheyAre } from "./underneath.ts";

/** Requests served before I/O completions get their turn. */
const TURN_REQUESTS = 32;

export class Engine {
  private readonly config: EngineConfig;
  private readonly log: Log;
  private readonly clock = systemClock();
  private readonly timers = new Timers();
  private readonly io: Io;
  private readonly keeper = new KeeperLink(EngineFd.keeper);
  private readonly slab: Slab;
  private readonly counters: Counters;
  private readonly cpuTime: CpuTime;
  private readonly inodes: Inodes;
  private readonly home = new HomeDirectory(EngineFd.backing, (...args) => this.inodes.openHome(...args));
  private readonly volume: Volume;
  private readonly session: Session;
  private readonly negotiation: Negotiation;
  private readonly channel: DevChannel;
  private readonly settings: Settings;
  private gone = false;
  private finished = false;
  private requestsWait = true;
  private readonly batching = new Batching(() => process.resourceUsage().involuntaryContextSwitches);

  constructor(config: EngineConfig, log: Log) {
    this.config = config;
    this.log = log;
    const { io, reason } = chooseIo(config.io);
    this.io = io;
    this.channel = new DevChannel(EngineFd.fuse, io);
    log.info({ io: io.kind }, reason);
    awaitPredecessor(EngineFd.slab, io, log);
    this.slab = Slab.open(EngineFd.slab);
    this.slab.populate();
    this.counters = new Counters(this.slab.counters());
    this.cpuTime = new CpuTime(this.counters);
    this.inodes = new Inodes(this.slab, new ImageTable(this.slab.inodes()), EngineFd.backing);
    this.negotiation = new Negotiation(this.slab.memory());
    if (config.start === 0) this.negotiation.clear();
    this.session = new Session({
      channel: this.channel,
      slab: this.slab,
      counters: this.counters,
      clock: this.clock,
      negotiation: this.negotiation,
      batching: this.batching,
      isKnown: (slot, generation) => this.inodes.known(slot, generation),
      crashed: (error, request) => this.crashed(error, request),
      refused: (result, bytes) => this.refused(result, bytes),
    });
    const memory = this.slab.memory();
    const durability = this.carriesOn ? Settings.storedDurability(memory) : config.settings.durability;
    this.volume = new Volume({
      slab: this.slab,
      counters: this.counters,
      clock: this.clock,
      timers: this.timers,
      io,
      home: this.home,
      dirtyLimit: config.settings.dirtyLimit,
      cache: config.cache,
      durability,
      journal: openJournal({ config, inodes: this.inodes, memory, timers: this.timers, log }),
      failed: (image, what, result) => this.homeFailed(image.slot, what, result),
      changed: (image, difference) => this.homeChanged(image.slot, difference),
      stalled: (image, isStalled) => this.homeStalled(image.slot, isStalled),
    });
    this.inodes.attach(this.volume);
    const operations = new Memory(memory);
    this.takeOver(operations);
    this.settings = new Settings(config.settings, memory, config.start > 0, this.volume, durability, log);
    const fs = new Namespace(this.namespaceOptions(operations));
    const kill = (slot: InodeSlot): number => killPrivileges(fs, slot);
    const changing: ContentChanging = (slot, keepsSetId) => contentChanging(fs, slot, keepsSetId);
    this.session.attach(this.volume, changing, this.handlers(fs, kill));
    this.count();
  }

  private namespaceOptions(memory: Memory): NamespaceOptions {
    const control = this.controlDirectory();
    return {
      inodes: this.inodes,
      data: this.volume,
      memory,
      clock: this.clock,
      io: this.io,
      openFlags: () => this.negotiation.openFlags,
      control: (request, body) => control.handle(request, body),
      showControl: this.config.showControl,
      accessLists: () => false,
      keepsSetId: process.geteuid?.() === 0,
    };
  }

  private handlers(fs: Namespace, kill: (slot: InodeSlot) => number): Partial<Record<number, Handler>> {
    const { volume, inodes, io, counters, clock } = this;
    const control: Handler = fs.options.control!;
    const nowUs = (): number => clock.nowUs();
    return {
      ...namespaceHandlers(fs),
      ...imageHandlers({ volume, inodes, io, counters, nowUs, killPrivileges: kill, control }),
      [Opcode.INIT]: (request, body) => this.init(this.negotiation.answer(request, body)),
      [Opcode.DESTROY]: () => 0,
      // Requests that wait do so for a device, which nothing can hurry: the kernel keeps waiting for their answer.
      [Opcode.INTERRUPT]: () => NO_REPLY,
    };
  }

  private init(result: number): number {
    if (this.negotiation.isDone) this.ready();
    return result;
  }

  private controlDirectory(): ControlDirectory {
    const { config, counters, cpuTime, volume, slab, inodes, settings, clock } = this;
    const nowUs = (): number => clock.nowUs();
    const figures = new Figures({
      config,
      counters,
      cpuTime,
      volume,
      slab,
      inodes,
      settings,
      transport: this.channel.kind,
      io: this.io.kind,
      nowUs,
    });
    return new ControlDirectory({
      uid: process.getuid?.() ?? 0,
      gid: process.getgid?.() ?? 0,
      clock,
      commands: controlCommands(volume, inodes, settings),
      contents: {
        stats: () => renderText(statsDocument(figures.source())),
        "stats.json": () => renderJson(statsDocument(figures.source())),
        metrics: () => renderPrometheus(statsDocument(figures.source()), counters),
        "images.json": () => renderJson(imagesDocument(figures.images())),
      },
      payload: () => this.session.payload(),
    });
  }

  /** The slab has what an earlier engine left. */
  private get carriesOn(): boolean {
    return this.config.start > 0 || this.config.adopted;
  }

  /** Takes in what the slab holds: nothing, or an earlier engine's work. */
  private takeOver(memory: Memory): void {
    const { config } = this;
    const anew = config.adopted && config.start === 0;
    const restore = (): void => {
      const gone = anew && config.force ? takeAsTheyAre(this.inodes, this.log) : undefined;
      if (!anew) this.home.missing = (slot, result) => keepOfMissing(this.inodes, this.log, slot, result);
      const { blocks, lost } = this.volume.restore(
        (slot) => this.inodes.records.used(slot) && gone?.has(slot) !== true,
        this.imageSlots(),
      );
      this.home.missing = undefined;
      examine(this.inodes, this.volume, lost, { config, log: this.log, anew });
      this.inodes.each((slot) => this.volume.endBegun(slot));
      if (blocks > 0)
        this.log.warn({ start: config.start, blocks }, `took over ${blocks} dirty blocks of an earlier engine`);
    };
    if (this.carriesOn) {
      restoreInodes(this.inodes, memory, anew, restore);
    } else {
      this.inodes.begin();
      this.inodes.held.sweep(() => false); // what a power cut left
      restore();
    }
    this.emptyJournal();
  }

  /**
   * Takes home what the journal has and what it should have: when it is new, or the data was forced over other images, it does
   * not have what was flushed; without the cache nothing must be in it.
   */
  private emptyJournal(): void {
    const { config, volume, log } = this;
    const { journaling } = volume;
    const isAnew = config.adopted && config.start === 0 && (config.force || journaling?.ledger.isEmpty === true);
    if (journaling === undefined || !(isAnew || !config.cache)) return;
    journaling.checkpoint.all((result) => {
      if (result < 0) log.error(`not all that was taken over is home yet (${errnoName(result)}); it is tried again`);
    });
  }

  private *imageSlots(): Generator<InodeSlot> {
    const slots: InodeSlot[] = [];
    this.inodes.each((slot) => slots.push(slot));
    for (const slot of slots) if ((this.inodes.records.mode(slot) & S.IFMT) === S.IFREG) yield slot;
  }

  private count(): void {
    const { at } = this.counters;
    if (at[Counter.mountedAtUs] === 0 || this.config.start === 0) at[Counter.mountedAtUs] = this.clock.nowUs();
    at[Counter.engineStarts]! += 1;
  }

  private homeFailed(slot: InodeSlot, what: string, result: number): void {
    const image = pathOf(this.inodes, slot);
    this.log.error(
      { image, what, errno: errnoName(result) },
      `home ${what} of ${image} failed: ${errnoName(result)}; the data is kept and tried again`,
    );
  }

  private homeStalled(slot: InodeSlot, isStalled: boolean): void {
    const image = pathOf(this.inodes, slot);
    const seconds = HOME_STALLED_US / 1e6;
    if (isStalled) {
      this.log.warn(
        { image },
        `home of ${image} has not answered for ${seconds} s: its data waits, other devices are served`,
      );
    } else this.log.info({ image }, `home of ${image} answers again`);
  }

  private homeChanged(slot: InodeSlot, difference: string): void {
    const image = pathOf(this.inodes, slot);
    this.log.error(
      { image },
      `${image} was changed in the backing directory, past the mount (${difference}); its guest's unsaved data goes over that`,
    );
  }

  private crashed(error: unknown, request: Request): void {
    this.log.error(
      { err: error, opcode: request.opcode, slot: request.slot },
      "a request hit a bug; it was answered with EIO",
    );
  }

  private refused(result: number, bytes: number): void {
    const errno = errnoName(result);
    this.log.error({ errno, bytes }, `the kernel refused a reply (${errno}); its request was answered with EIO`);
  }

  private ready(): void {
    this.keeper.send({ type: "ready" });
  }

  /** Serves until the mount is gone and everything is home. */
  run(): void {
    this.io.whenReadable(EngineFd.keeper, () => this.hearKeeper());
    if (this.config.start > 0) this.resume();
    let told = false;
    while (!this.finished) {
      this.turn();
      if (!told && this.session.served > 0) {
        told = true;
        this.keeper.send({ type: "served" });
      }
    }
    this.slab.close();
  }

  private resume(): void {
    if (!this.negotiation.isDone) return;
    const result = this.session.resend();
    if (!this.negotiation.canResend || result < 0) {
      this.log.error(
        "this kernel cannot send requests again (before 6.9): those that the dead engine had taken hang until unmount",
      );
    }
    this.ready();
  }

  /** One turn of the loop. */
  private turn(): void {
    this.volume.hasten();
    const served = this.gone || !this.requestsWait ? Served.idle : this.serve();
    if (served === Served.gone) this.unmounted();
    this.timers.runDue(this.clock.nowUs());
    this.cpuTime.pass(this.clock.lastUs);
    const isForgetting = this.inodes.reviewForgotten();
    this.volume.pump(); // last before the sleep: what a timer made possible begins now, as nothing else may wake the loop
    if (served === Served.idle && this.requestsWait && !this.gone) {
      this.requestsWait = false;
      this.io.whenReadable(EngineFd.fuse, () => {
        this.requestsWait = true;
      });
    }
    const goesOn = served === Served.budget || (served === Served.starved && this.volume.cache.allocator.ready());
    if (!this.finished) this.io.wait(goesOn || isForgetting ? 0 : this.sleepUs());
  }

  private serve(): Served {
    const { session, batching } = this;
    const before = session.served;
    const served = session.serve(TURN_REQUESTS);
    batching.served(session.served - before, served === Served.idle);
    return served;
  }

  /** How long nothing but I/O and requests can happen. */
  private sleepUs(): number {
    const next = Math.min(this.timers.nextUs, this.volume.nextUs);
    return next === Number.POSITIVE_INFINITY ? next : Math.max(0, next - this.clock.nowUs());
  }

  private hearKeeper(): void {
    for (const { type } of this.keeper.receive()) {
      if (type === "drain") this.volume.drain.once((result) => this.keeper.send({ type: "drained", result }));
    }
    if (this.keeper.alive) this.io.whenReadable(EngineFd.keeper, () => this.hearKeeper());
    else this.log.warn("the keeper is dead: serving goes on, but a death of this engine will not be mended");
  }

  /** Nobody can ask for anything any more: takes everything home, for as long as that takes. */
  private unmounted(): void {
    this.gone = true;
    this.log.info({ blocks: this.volume.cache.blocks }, "unmounted; taking everything home");
    this.inodes.forgetAll();
    this.volume.drain.forGood(() => {
      const { journaling } = this.volume;
      if (journaling === undefined) this.end();
      // In the next turn: this one has pumped the journal already, and nothing else wakes the loop. One that has failed holds
      // nothing that is not home.
      else this.timers.at(0, () => journaling.checkpoint.all(() => this.end()));
    });
  }

  private end(): void {
    this.inodes.close();
    this.finished = true;
  }
}
