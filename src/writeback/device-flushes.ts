/** When written blocks are made durable: they take room until the device has them. */
import { RUN_FRAMES_MAX, UNFLUSHED_SECONDS, UNFLUSHED_SHARE } from "../base/limits.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import type { HomeDevice, HomeDevices } from "./devices.ts";
import type { ImageHome } from "./image-home.ts";
import type { Pacer } from "./pacer.ts";
import type { WriterContext } from "./writer.ts";

export interface DeviceFlushesContext extends WriterContext {
  /** The ways home of all images in use. */
  readonly homes: ReadonlyMap<Image, ImageHome>;
  readonly devices: HomeDevices;
  readonly pacer: Pacer;
  /** Writers are being delayed. */
  isPressed(): boolean;
}

export class DeviceFlushes {
  private readonly context: DeviceFlushesContext;

  constructor(context: DeviceFlushesContext) {
    this.context = context;
  }

  /** Begins device flushes when written blocks are many, or when there is nothing better to do on the device (`isQuiet`). */
  pump(isQuiet: (device: HomeDevice) => boolean): void {
    const { cache, devices, homes } = this.context;
    if (cache.writtenBlocks === 0) return;
    const many = cache.writtenBlocks >= this.unflushedMost;
    if (!many && !devices.all.some(isQuiet)) return;
    for (const home of homes.values()) {
      const isDue = home.image.written.count > 0 && !home.flushActive && !home.isPaused;
      if (isDue && (many || isQuiet(home.device))) home.flushDevice();
    }
  }

  /**
   * Blocks written home that may wait for a device flush. While writers are delayed, what the device writes in a moment:
   * room that comes back in large steps would let them in by bursts, and stall them in between.
   */
  private get unflushedMost(): number {
    const { cache, pacer } = this.context;
    // Of an extension those that wait here hold writers up before they are many.
    const extensions = cache.commits.extended.size === 0 ? Number.POSITIVE_INFINITY : 4 * this.context.extensionRun();
    const most = Math.min(cache.frames.count * UNFLUSHED_SHARE, extensions);
    if (!this.context.isPressed()) return most;
    return Math.min(most, Math.max(RUN_FRAMES_MAX, (pacer.bytesPerSecond / BLOCK_BYTES) * UNFLUSHED_SECONDS));
  }
}
