/** Which blocks the next sweep of the background writer takes: what is too old, what need not be in the journal first, what is too much. */
import type { FrameNo } from "../base/units.ts";
import { NONE } from "../cache/frames.ts";
import type { Image } from "../cache/images.ts";
import type { HomeDevice, HomeDevices } from "./devices.ts";
import type { ImageHome } from "./image-home.ts";
import type { WriterContext } from "./writer.ts";

/** Once cleaning, go on to this share of the start, so that sweeps are long. */
const CLEAN_TO = 0.9;

const ANY = (): boolean => true;

export interface ChoiceContext extends WriterContext {
  readonly devices: HomeDevices;
  /** The ways home of all images in use. */
  readonly homes: ReadonlyMap<Image, ImageHome>;
  /** Blocks of home writes in flight. */
  inflightBlocks(): number;
  isDraining(): boolean;
  /** False if the frame is on its way, or must wait. */
  mayGo(image: Image, frame: FrameNo): boolean;
}

export class Choice {
  private readonly context: ChoiceContext;
  private cleaning = false;
  /** The last sweep was of extensions: they take turns with victims. */
  private wasOfExtensions = false;

  constructor(context: ChoiceContext) {
    this.context = context;
  }

  /** Fills `into` with blocks that are to go home now; how many they are. */
  choose(into: Int32Array): number {
    const old = this.chooseOld(into, ANY);
    if (old > 0) return old;
    const extensionsFirst = !this.wasOfExtensions;
    const first = extensionsFirst ? this.chooseExtensions(into, ANY) : this.chooseVictims(into);
    const count = first > 0 ? first : extensionsFirst ? this.chooseVictims(into) : this.chooseExtensions(into, ANY);
    this.wasOfExtensions = count > 0 && first > 0 === extensionsFirst;
    return count;
  }

  /** The same for `device`, while another keeps what was chosen. Not by the policy, which would give blocks of all. */
  chooseFor(device: HomeDevice, into: Int32Array): number {
    const isIts = (one: HomeDevice): boolean => one === device;
    const old = this.chooseOld(into, isIts);
    if (old > 0) return old;
    const extensions = this.chooseExtensions(into, isIts);
    if (extensions > 0) return extensions;
    return this.isPressing(device) ? this.chooseDirty(into, isIts, 0) : 0;
  }

  /** All is to go home, or a write waits until there is room for it that `device` can make. */
  private isPressing(device: HomeDevice | undefined): boolean {
    const { cache, devices, pressure } = this.context;
    if (this.context.isDraining()) return true;
    const isCrowding = devices.crowding === undefined || devices.crowding === device || devices.all.length === 1;
    const demand = isCrowding ? pressure.demand : pressure.briskDemand;
    return demand > 0 && cache.blocks + demand > pressure.limit;
  }

  /** Blocks that are dirty and not on their way. */
  private get waiting(): number {
    const { cache } = this.context;
    return cache.blocks - cache.writtenBlocks - this.context.inflightBlocks();
  }

  private chooseVictims(into: Int32Array): number {
    const { policy, pressure } = this.context;
    const { waiting } = this;
    if (waiting > pressure.start) this.cleaning = true;
    else if (waiting <= pressure.start * CLEAN_TO) this.cleaning = false;
    const isAll = this.context.isDraining() || !this.cleaning;
    // Not cleaning, and writes wait all the same: nearly all is on its way, or waits for a slow flush, and only the rest can make room.
    if (!this.cleaning && !this.isPressing(undefined)) return 0;
    const surplus = isAll ? waiting : Math.ceil(waiting - pressure.start * CLEAN_TO);
    return policy.victims(Math.min(Math.max(surplus, 1), into.length), into);
  }

  private chooseExtensions(into: Int32Array, isWanted: (device: HomeDevice) => boolean): number {
    const { commits } = this.context.cache;
    const least = this.context.extensionRun();
    let count = 0;
    for (const image of commits.extended) {
      const { uncommitted, extension } = image;
      const home = this.context.homes.get(image);
      const mayGo = home !== undefined && !home.isPaused && isWanted(home.device);
      if (mayGo && uncommitted.count - extension.next >= least) count = commits.chooseExtension(image, into, count);
    }
    return count;
  }

  /** Chooses what is dirty for longer than the age limit. */
  private chooseOld(into: Int32Array, isWanted: (device: HomeDevice) => boolean): number {
    const maxAge = this.context.maxAgeUs();
    return maxAge === 0 ? 0 : this.chooseDirty(into, isWanted, maxAge);
  }

  /** Chooses what is dirty for `age` microseconds, image by image, the oldest first. */
  private chooseDirty(into: Int32Array, isWanted: (device: HomeDevice) => boolean, age: number): number {
    const { frames } = this.context.cache;
    const now = this.context.nowUs();
    let count = 0;
    for (const { image, device, isPaused } of this.context.homes.values()) {
      if (isPaused || !isWanted(device)) continue;
      for (let frame = image.dirty.head; frame !== NONE && count < into.length; frame = image.dirty.after(frame)) {
        if (frames.since(frame) + age > now) break;
        if (!this.context.mayGo(image, frame)) continue;
        this.context.policy.removed(frame);
        into[count++] = frame;
      }
    }
    return count;
  }

  /** When the next dirty block reaches the age limit; Infinity if none will. */
  get nextAgeUs(): number {
    const maxAge = this.context.maxAgeUs();
    if (maxAge === 0) return Number.POSITIVE_INFINITY;
    const { frames } = this.context.cache;
    const now = this.context.nowUs();
    let next = Number.POSITIVE_INFINITY;
    for (const { image, isPaused } of this.context.homes.values()) {
      if (isPaused) continue;
      let frame = image.dirty.head;
      while (frame !== NONE && frames.since(frame) + maxAge <= now) frame = image.dirty.after(frame); // on its way, or waiting for an I/O to end
      if (frame !== NONE) next = Math.min(next, frames.since(frame));
    }
    return next + maxAge;
  }
}
