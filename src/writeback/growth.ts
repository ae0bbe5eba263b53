/**
 * Makes a home file longer before writes past its end, one step after the other: no write makes it longer by itself, or the
 * truncate that comes after it could make it shorter again.
 *
 *   1. a direct write past the end begins: ext4 notes that it may have to cut the file back  2. the power is cut  3. the filesystem comes
 *   up, cuts the file back, and sets its time of modification to now  4. recovery takes that for somebody else's change
 *
 * A truncate that makes a file longer leaves no such note (ext4_setattr, ext4_dio_write_iter).
 */
import type { Image } from "../cache/images.ts";
import type { Io } from "../sys/io.ts";

interface Waiter {
  end: number;
  done: (result: number) => void;
}

export class Growth {
  private readonly image: Image;
  private readonly io: Io;
  private waiting: Waiter[] = [];
  private isGrowing = false;

  constructor(image: Image, io: Io) {
    this.image = image;
    this.io = io;
  }

  /** `done` gets 0 when the home file is at least `end` bytes long, or a negated error number. */
  to(end: number, done: (result: number) => void): void {
    this.waiting.push({ end, done });
    if (!this.isGrowing) this.begin();
  }

  private begin(): void {
    const { image } = this;
    const group = this.waiting.splice(0);
    const end = group.reduce((most, waiter) => Math.max(most, waiter.end), 0);
    if (end <= image.homeSize) {
      for (const { done } of group) done(0); // one before has made it so long; again, it would free what is reserved beyond the end
      return;
    }
    this.isGrowing = true;
    this.io.truncate(image.file.buffered, end, (result) => {
      this.isGrowing = false;
      if (result === 0) {
        image.homeSize = Math.max(image.homeSize, end);
        image.unflushed = true;
      }
      if (this.waiting.length > 0) this.begin();
      for (const { done } of group) done(result);
    });
  }
}
