/**
 * The devices that home files lie on, told apart by their numbers. Each has home writes of its own, so that one which hangs or crawls
 * does not keep those of others; one that takes more than half of what may be dirty is crowding (`pressure.ts`). An image of which nothing
 * is heard for HOME_STALLED_US, while something of ours is under way at its home, is stalled: that is told to people, and changes nothing.
 */
import { HOME_LOOK_US, HOME_REVIVED_US, HOME_STALLED_US } from "../base/limits.ts";
import type { Timers } from "../base/timers.ts";
import type { Image } from "../cache/images.ts";
import type { ImageHome } from "./image-home.ts";
import type { Pressure } from "./pressure.ts";
import { Sweep } from "./sweep.ts";

export class HomeDevice {
  /** Home writes in flight. */
  writes = 0;
  /** Home reads in flight. */
  reads = 0;
  /** One of its images is stalled. */
  hasStalled = false;
  /** Blocks for it that were chosen while another device kept the writer's sweep. */
  readonly sweep = new Sweep();
  /** Something is under way from now on: sees to it that it is looked after. */
  readonly watch: () => void;

  constructor(watch: () => void) {
    this.watch = watch;
  }
}

export interface DevicesContext {
  readonly timers: Timers;
  readonly pressure: Pressure;
  nowUs(): number;
  /** The ways home of all images in use. */
  homes(): Iterable<ImageHome>;
  /** Since when nothing is heard of a home operation of an image that is under way, microseconds; Infinity without one. */
  beganUs(home: ImageHome): number;
  /** Of this image nothing is heard any more, or it has come to life again: tell people. */
  stalled(image: Image, isStalled: boolean): void;
}

export class HomeDevices {
  readonly all: HomeDevice[] = [];
  /** Most of what may be dirty is for this one. */
  crowding: HomeDevice | undefined;
  private readonly context: DevicesContext;
  private readonly byNumber = new Map<number, HomeDevice>();
  private isWatching = false;

  constructor(context: DevicesContext) {
    this.context = context;
  }

  /** The device of the number that stat(2) gives. */
  at(number: number): HomeDevice {
    const known = this.byNumber.get(number);
    if (known !== undefined) return known;
    const device = new HomeDevice(() => this.watch());
    this.byNumber.set(number, device);
    this.all.push(device);
    return device;
  }

  /** Looks which device is crowding, with `dirty` blocks in all. Called once a turn of the loop. */
  measure(dirty: number): void {
    const { pressure } = this.context;
    this.crowding = undefined;
    pressure.crowding = 0;
    pressure.others = 0;
    if (!pressure.isMost(dirty)) return;
    for (const device of this.all) {
      let others = 0; // perhaps counted twice, when they are being superseded
      if (this.all.length > 1)
        for (const home of this.context.homes()) if (home.device !== device) others += home.image.blocks;
      if (!pressure.isMost(dirty - others) || dirty - others < pressure.crowding) continue;
      this.crowding = device;
      pressure.crowding = dirty - others;
      pressure.others = others;
    }
  }

  private watch(): void {
    if (this.isWatching) return;
    this.isWatching = true;
    this.context.timers.at(this.context.nowUs() + HOME_LOOK_US, () => this.look());
  }

  private look(): void {
    const now = this.context.nowUs();
    this.isWatching = false;
    for (const device of this.all) device.hasStalled = false;
    for (const home of this.context.homes()) {
      const beganUs = this.context.beganUs(home);
      if (beganUs !== Number.POSITIVE_INFINITY) this.watch();
      const isStalled = now - beganUs > (home.isStalled ? HOME_REVIVED_US : HOME_STALLED_US);
      home.device.hasStalled ||= isStalled;
      if (home.isStalled === isStalled) continue;
      home.isStalled = isStalled;
      this.context.stalled(home.image, isStalled);
    }
  }
}
