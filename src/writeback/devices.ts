/**
 * The devices that home files lie on, told apart by their numbers. One of which nothing is heard for HOME_STALLED_US, while something of
 * ours is under way there, is stalled: it hangs, or crawls. What is under way on it no longer counts among the home writes that all share,
 * so that the others go on; and what is dirty for it is the measure of what others may have beside it (`writeback/pressure.ts`).
 */
import { HOME_LOOK_US, HOME_STALLED_US, HOME_WRITES_MAX } from "../base/limits.ts";
import type { Timers } from "../base/timers.ts";
import type { Image } from "../cache/images.ts";
import type { ImageHome } from "./image-home.ts";

export class HomeDevice {
  /** Home writes in flight. */
  writes = 0;
  isStalled = false;
  /** Blocks that were to go there were left unlisted, as it was stalled and had enough to do. */
  hasPassedOver = false;
  /** Something is under way from now on: sees to it that it is looked after. */
  readonly watch: () => void;

  constructor(watch: () => void) {
    this.watch = watch;
  }

  /** It is stalled, and all its home writes are under way. */
  get isFull(): boolean {
    return this.isStalled && this.writes >= HOME_WRITES_MAX;
  }
}

export interface DevicesContext {
  readonly timers: Timers;
  nowUs(): number;
  /** The ways home of all images in use. */
  homes(): Iterable<ImageHome>;
  /** Since when nothing is heard of a home operation of an image that is under way, microseconds; Infinity without one. */
  beganUs(home: ImageHome): number;
  /** Of this image nothing is heard any more, or it has come to life again: tell people. */
  stalled(image: Image, isStalled: boolean): void;
}

export class HomeDevices {
  /** Home writes in flight on devices that are stalled. */
  stalledWrites = 0;
  private readonly context: DevicesContext;
  private readonly devices = new Map<number, HomeDevice>();
  private stalledCount = 0;
  private isWatching = false;

  constructor(context: DevicesContext) {
    this.context = context;
  }

  /** The device of the number that stat(2) gives. */
  at(number: number): HomeDevice {
    const known = this.devices.get(number);
    if (known !== undefined) return known;
    const device = new HomeDevice(() => this.watch());
    this.devices.set(number, device);
    return device;
  }

  get anyStalled(): boolean {
    return this.stalledCount > 0;
  }

  /** A home write on `device` begins. */
  begin(device: HomeDevice): void {
    device.writes++;
    device.watch();
    if (device.isStalled) this.stalledWrites++;
  }

  end(device: HomeDevice): void {
    device.writes--;
    if (device.isStalled) this.stalledWrites--;
  }

  private watch(): void {
    if (this.isWatching) return;
    this.isWatching = true;
    this.context.timers.at(this.context.nowUs() + HOME_LOOK_US, () => this.look());
  }

  private look(): void {
    const latest = this.context.nowUs() - HOME_STALLED_US;
    const stalled = new Set<HomeDevice>();
    this.isWatching = false;
    for (const home of this.context.homes()) {
      const beganUs = this.context.beganUs(home);
      if (beganUs !== Number.POSITIVE_INFINITY) this.watch();
      if (home.isStalled !== beganUs < latest) {
        home.isStalled = beganUs < latest;
        this.context.stalled(home.image, home.isStalled);
      }
      if (home.isStalled) stalled.add(home.device);
    }
    for (const device of this.devices.values()) this.set(device, stalled.has(device));
  }

  private set(device: HomeDevice, isStalled: boolean): void {
    if (device.isStalled === isStalled) return;
    device.isStalled = isStalled;
    this.stalledCount += isStalled ? 1 : -1;
    this.stalledWrites += isStalled ? device.writes : -device.writes;
    if (!isStalled) this.relist(device, Number.POSITIVE_INFINITY);
  }

  /** Up to `most` blocks that were passed over are victims again. */
  relist(device: HomeDevice, most: number): void {
    let left = device.hasPassedOver ? most : 0;
    for (const home of this.context.homes()) {
      if (left === 0) return;
      if (home.device === device) left -= home.relist(left);
    }
    device.hasPassedOver = left === 0;
  }
}
