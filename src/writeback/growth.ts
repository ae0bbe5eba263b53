/**
 * Makes a home file longer before writes past its end, one step after the other: no write makes it longer by itself, or the
 * truncate that comes after it could make it shorter again.
 *
 *   1. a direct write past the end begins: ext4 notes that it may have to cut the file back  2. the power is cut  3. the filesystem comes
 *   up, cuts the file back, and sets its time of modification to now  4. recovery takes that for somebody else's change
 *
 * A truncate that makes a file longer leaves no such note (ext4_setattr, ext4_dio_write_iter). It dirties the page of the old end,
 * which no direct write must find (`lanes.ts`); so it is made for many runs at once.
 */
import type { Image } from "../cache/images.ts";
import type { Io } from "../sys/io.ts";
import type { Lanes } from "./lanes.ts";

/** Bytes by which a file is made longer than it must be, if the image is. */
const AHEAD_BYTES = 2 ** 24;

interface Waiter {
  end: number;
  done: (result: number) => void;
}

export class Growth {
  private readonly image: Image;
  private readonly io: Io;
  private readonly lanes: Lanes;
  private readonly limit: () => number;
  private waiting: Waiter[] = [];
  private isActive = false;

  /** `limit`: how long the file may become by what the image is now. */
  constructor(image: Image, io: Io, lanes: Lanes, limit: () => number) {
    this.image = image;
    this.io = io;
    this.lanes = lanes;
    this.limit = limit;
  }

  /** `done` gets 0 when the home file is at least `end` bytes long, or a negated error number. */
  to(end: number, done: (result: number) => void): void {
    this.waiting.push({ end, done });
    if (!this.isActive) this.begin();
  }

  private begin(): void {
    const { image, lanes } = this;
    this.isActive = true;
    if (!lanes.enter(() => this.begin(), false)) return;
    const group = this.waiting.splice(0);
    const least = group.reduce((most, waiter) => Math.max(most, waiter.end), 0);
    if (least <= image.homeSize) {
      this.end(group, 0); // one before has made it so long; again, it would free what is reserved beyond the end
      return;
    }
    const end = Math.max(least, Math.min(image.size, this.limit(), least + AHEAD_BYTES));
    this.io.truncate(image.file.buffered, end, (result) => {
      if (result === 0) {
        image.homeSize = Math.max(image.homeSize, end);
        image.unflushed = true;
      }
      this.end(group, result);
    });
  }

  private end(group: readonly Waiter[], result: number): void {
    this.isActive = false;
    const next = this.lanes.leave(false);
    if (this.waiting.length > 0) this.begin();
    for (const again of next) again();
    for (const { done } of group) done(result);
  }
}
