/**
 * What the durability modes promise of a power cut, held against what the devices would leave. In `sync`, each answered flush;
 * in `ordered`, one instant of all images, taken where a transaction begins, and not too long ago.
 */
import { E } from "../../src/base/errno.ts";
import type { InodeSlot } from "../../src/base/units.ts";
import type { Batch } from "../../src/journal/batch.ts";
import { scan } from "../../src/journal/scan.ts";
import { readSuperblocks } from "../../src/journal/superblock.ts";
import type { DurabilityMode } from "../../src/volume/durability-context.ts";
import type { Journaling } from "../../src/volume/journaling.ts";
import type { Volume } from "../../src/volume/volume.ts";
import { Corruption } from "./damage.ts";
import type { SimHome } from "./home.ts";
import { type Recovered, readerOf, SimJournal, slotOf } from "./journal.ts";
import { checkContent, possibleSizes, type View } from "./oracle.ts";
import { PagedBytes } from "./paged.ts";
import type { Plan } from "./plan.ts";
import { Random } from "./random.ts";
import type { FlushPromise, SimImage } from "./requests.ts";
import { must, type World } from "./world.ts";

/** Share of the answered flushes after which it is looked what a power cut would leave. */
const LOOKS = 0.15;
/** The same for answered changes in `ordered`. */
const ORDERED_LOOKS = 0.03;
/** A commit takes time, and so does what it waits for. */
const SLACK_US = 1_500_000;

/** All images at one instant. */
interface Snapshot {
  atUs: number;
  /** Changes that were answered by then. */
  answers: number;
  views: Map<InodeSlot, View>;
}

const operationText = ({ kind, image, offset, length }: Batch["operations"][number]): string =>
  `, ${kind} ${slotOf(image.identity)} ${offset}+${length}`;

/** Recovery is cut short. */
class CutShort extends Error {}

export class Promises {
  readonly journal: SimJournal | undefined;
  /** What the guests were told last. */
  private mode: DurabilityMode;
  /** A new engine begins in it, and then changes to `mode`. */
  inForce: DurabilityMode;
  /** Since when `ordered` holds: the first snapshot that counts; undefined: it does not. */
  private base: Snapshot | undefined;
  /** False once `ordered` was about to be left, also if it is not left in the end: seeds from before that was held against `base` are as they were. */
  private looksAhead = true;
  private readonly corruption: Corruption | undefined;
  private readonly snapshots = new Map<number, Snapshot>();
  private readonly world: World;
  private readonly home: SimHome;
  private readonly plan: Plan;
  private readonly images: () => SimImage[];
  private changing = false;
  /** Changes of mode begun and ended. */
  private changes = 0;
  /** When each change was answered. */
  private readonly answeredAtUs: number[] = [];
  private volume: Volume | undefined;
  /** The one whose mode is changed to what it was before its predecessor was killed. */
  private goingBack: Volume | undefined;
  /** Images that have lost their names. */
  private readonly removed: SimImage[] = [];
  /** What becomes of those in a power cut. */
  private readonly fate = new Random(4712);

  constructor(world: World, home: SimHome, plan: Plan, images: () => SimImage[]) {
    this.world = world;
    this.home = home;
    this.plan = plan;
    this.images = images;
    this.mode = plan.mode;
    this.inForce = plan.mode;
    this.journal = plan.ringBlocks === 0 ? undefined : new SimJournal(world, home, plan.ringBlocks, plan.commitBlocks);
    if (this.mode === "ordered") this.base = this.snapshot();
    if (plan.powerCut && plan.damage !== undefined && this.journal !== undefined)
      this.corruption = new Corruption(world, plan.damage, this.journal);
  }

  /** A new engine: looks at each transaction that it begins. As `engine/settings.ts`, it ends or takes back a change of mode. */
  attach(volume: Volume): void {
    this.volume = volume;
    this.changing = false;
    if (volume.journaling !== undefined) this.watch(volume.journaling);
    if (this.inForce !== this.mode) this.goBack(volume);
  }

  private watch({ durability, journal }: Journaling): void {
    durability.onMode = (mode) => {
      this.inForce = mode;
      if (mode !== "ordered") this.base = undefined;
    };
    const commit = journal.commit.bind(journal);
    journal.commit = (batch, done) => {
      this.snapshots.set(journal["next"], this.snapshot());
      this.corruption?.begins(journal["next"], this.images());
      this.world.note(
        () =>
          `    transaction ${journal["next"]}: ${batch.count} blocks${batch.operations.map(operationText).join("")}`,
      );
      commit(batch, (result) => {
        if (result < 0) this.base = undefined;
        done(result);
      });
    };
  }

  private snapshot(): Snapshot {
    const views = new Map<InodeSlot, View>();
    for (const { slot, oracle } of this.images()) {
      const view = oracle.lookAtAll();
      oracle.forget(view);
      views.set(slot, { ...view, beside: new Set(view.beside) });
    }
    return { atUs: this.world.nowUs(), answers: this.answeredAtUs.length, views };
  }

  /** A change was answered. */
  answered(): void {
    this.answeredAtUs.push(this.world.nowUs());
    if (this.base !== undefined && this.looksAhead && this.world.random.chance(ORDERED_LOOKS)) this.lookAhead();
  }

  promised(): FlushPromise {
    const { changes } = this;
    const isSync = this.mode === "sync" && !this.changing;
    return {
      holds: () => isSync && changes === this.changes, // one that is sent again after a change is as the new mode has it
      kept: () => {
        if (this.world.random.chance(LOOKS)) this.lookAhead();
      },
    };
  }

  become(volume: Volume, mode: DurabilityMode, done: () => void): void {
    if (mode === this.mode || this.changing) {
      done();
      return;
    }
    this.changing = true;
    this.changes++;
    const begunUs = this.world.nowUs();
    const views = this.images().map((image) => ({ image, view: image.oracle.lookAtAll() }));
    if (this.mode === "ordered") this.looksAhead = false;
    volume.setDurability(mode, (result) => {
      this.changing = false;
      this.changes++;
      this.world.note(() => `    became ${mode}: ${result}`);
      if (result === 0) {
        this.mode = mode;
        if (mode === "ordered") {
          this.base = this.firstInstant(begunUs);
          this.looksAhead = true;
        }
        // All that was answered when the stronger mode was asked for is safe from now on.
        if (mode === "sync") for (const { image, view } of views) this.keep(image, view, image.vow.issuedAt);
      } else {
        must(result === -E.EOPNOTSUPP || this.isFaulty, () => `the mode cannot become ${mode}: ${result}`);
      }
      if (result !== 0 || mode !== "sync") for (const { image, view } of views) image.oracle.forget(view);
      done();
    });
  }

  get isGoingBack(): boolean {
    return this.goingBack !== undefined && this.goingBack === this.volume;
  }

  /** The engine before was killed on its way to another mode. */
  private goBack(volume: Volume): void {
    const { mode } = this;
    const begunUs = this.world.nowUs();
    this.changing = true;
    this.goingBack = volume;
    volume.setDurability(mode, (result) => {
      this.changing = false;
      this.goingBack = undefined;
      this.world.note(() => `    went back to ${mode}: ${result}`);
      must(result === 0 || result === -E.EOPNOTSUPP || this.isFaulty, () => `the mode cannot become ${mode} again`);
      if (result < 0) this.mode = this.inForce;
      else if (mode === "ordered") this.base = this.firstInstant(begunUs);
    });
  }

  /** Of `ordered`, for which the change of mode that began at `begunUs` has ended: its transaction, or now, if there was nothing to commit. */
  private firstInstant(begunUs: number): Snapshot {
    const last = this.snapshots.get(Math.max(...this.snapshots.keys()));
    return last !== undefined && last.atUs >= begunUs ? last : this.snapshot();
  }

  /** All is asked home: what was answered before is safe from when that has succeeded on, whatever the mode. */
  drain(volume: Volume, done: () => void): void {
    const issuedAt = this.world.nowUs();
    const views = this.images().map((image) => ({ image, view: image.oracle.lookAtAll() }));
    volume.drain.once((result) => {
      this.world.note(() => `    drained: ${result}`);
      for (const { image, view } of views) {
        if (result === 0) this.keep(image, view, issuedAt);
        else image.oracle.forget(view);
      }
      if (this.plan.grows || this.world.random.chance(LOOKS)) this.lookAhead();
      done();
    });
  }

  /** What was dirty of an image that has lost its name is nobody's. */
  private keep(image: SimImage, view: View, issuedAt: number): void {
    if (this.removed.includes(image)) image.oracle.forget(view);
    else image.vow.keep(image.oracle, view, issuedAt);
  }

  private get isFaulty(): boolean {
    const { writeError, flushError, shapeError } = this.plan.faults;
    return writeError + flushError + shapeError > 0 || this.plan.freeBlocks !== Number.POSITIVE_INFINITY;
  }

  /** An image has lost its last name, until a power cut perhaps brings it back. */
  moved(image: SimImage): void {
    this.removed.push(image);
    this.journal?.removals.moved.set(image.slot, image.file);
  }

  /** What a power cut now may leave; of files that were removed, some. */
  private remains(): { files: Map<InodeSlot, Recovered>; ring: PagedBytes } {
    const files = new Map(Array.from(this.home.files, ([slot, file]) => [slot, file.remains()]));
    for (const { slot } of this.removed) files.delete(slot);
    for (const [slot, file] of this.journal?.removals.moved ?? [])
      if (this.fate.chance(0.5)) files.set(slot, file.remains());
    return { files, ring: this.journal?.file.remains().bytes ?? new PagedBytes(0) };
  }

  /** The power is not gone, but if it were. */
  private lookAhead(): void {
    const { files, ring } = this.remains();
    const instant = this.instantOf(ring);
    this.journal?.recover(files, ring);
    this.check(files, instant, "if the power were cut now");
  }

  /** The power goes. Recovery, cut short once or twice perhaps, must bring back what was promised. */
  cutPower(): void {
    const { random } = this.world;
    const { files, ring } = this.remains();
    const instant = this.instantOf(ring);
    if (this.corruption !== undefined && !this.corruption.strike(ring, files)) return;
    for (let tries = random.below(3); tries > 0; tries--) this.recoverInPart(files, ring);
    this.journal?.recover(files, ring);
    if (random.chance(0.3)) this.journal?.recover(files, ring);
    this.check(files, instant, "after the power cut");
  }

  private check(files: ReadonlyMap<InodeSlot, Recovered>, instant: Snapshot | undefined, when: string): void {
    for (const { slot, vow } of [...this.images(), ...this.removed.filter((image) => files.has(image.slot))]) {
      const { bytes, size } = files.get(slot)!;
      vow.check(bytes, size, () => `${when}, image ${slot}`);
    }
    if (instant !== undefined) this.checkInstant(instant, files, when);
  }

  private recoverInPart(files: Map<InodeSlot, Recovered>, journal: PagedBytes): void {
    let left = this.world.random.magnitude(60);
    try {
      this.journal?.recover(files, journal, () => {
        if (--left === 0) throw new CutShort();
      });
    } catch (error) {
      if (!(error instanceof CutShort)) throw error;
    }
  }

  /** The snapshot that recovery must come to; undefined if `ordered` does not hold. */
  private instantOf(journal: PagedBytes): Snapshot | undefined {
    const isHeld = this.mode === "ordered" && !this.changing && this.volume?.durability?.isBroken === false;
    if (this.base === undefined || !isHeld) return undefined;
    const reader = readerOf(journal);
    const { sequence } = scan(reader, readSuperblocks(reader).superblock!);
    let last = this.base;
    for (const [first, snapshot] of this.snapshots) {
      if (first < sequence && snapshot.atUs >= last.atUs) last = snapshot;
    }
    return last;
  }

  private checkInstant(
    { atUs, answers, views }: Snapshot,
    files: ReadonlyMap<InodeSlot, Recovered>,
    when: string,
  ): void {
    this.world.note(() => `recovery comes to the instant ${(atUs / 1e3).toFixed(3)} ms`);
    for (const { slot } of this.images()) {
      const view = views.get(slot);
      if (view === undefined) continue; // made later: its beginning was never told to the journal
      const { bytes, size } = files.get(slot)!;
      const what = (): string => `${when}, image ${slot}, at the instant of the last transaction`;
      must(
        possibleSizes(view).has(size),
        () => `${what()}: size ${size}, not ${[...possibleSizes(view)].join(" or ")}`,
      );
      checkContent(view, bytes, what);
    }
    const next = this.answeredAtUs[answers];
    // While a device hangs, its commits stay, and there may be no room for the next one.
    if (next === undefined || this.isFaulty || this.plan.kills > 0 || this.plan.stalls) return;
    const age = this.world.nowUs() - next;
    must(age <= this.plan.lossWindowUs + SLACK_US, () => `what was answered ${age} us before the power cut is lost`);
  }
}
