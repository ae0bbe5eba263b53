/**
 * Simulated I/O. Between its submission and its end an operation takes effect in up to three steps, each at a moment of its
 * own, torn at sectors; memory is read and written at those moments, so a frame that is freed too early shows. Ends come
 * in any order. With a killed engine, each step that is left happens or not.
 */
import { E } from "../../src/base/errno.ts";
import { SECTOR_BYTES } from "../../src/base/units.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import type { Done, Io } from "../../src/sys/io.ts";
import type { Change, SimFile, SimHome } from "./home.ts";
import { forBytes, iovecEntries } from "./memory.ts";
import { must, type World } from "./world.ts";

/** What may go wrong, each as a probability an operation. All zero: a healthy device. */
export interface Faults {
  writeError: number;
  flushError: number;
  readError: number;
  shapeError: number;
  short: number;
  /** A direct I/O is refused with EINVAL. */
  refusesDirect: number;
}

/** The engine is killed while it submits I/O. */
export class Killed extends Error {}

interface Operation {
  what: string;
  file: SimFile;
  low: number;
  high: number;
  /** May not share bytes with another that writes. */
  writes: boolean;
  /** A home write by way of the page cache, or past it: one kind at a time, as `writeback/lanes.ts` tells. */
  lane: "buffered" | "direct" | undefined;
  steps: (() => void)[];
  change: Change;
}

export class SimIo implements Io {
  readonly kind = "simulated";
  faults: Faults;
  /** The engine dies at this many submissions from now. */
  submissionsLeft = Number.POSITIVE_INFINITY;
  /** Longest ordinary time an operation takes, microseconds. */
  latencyUs: number;
  private readonly world: World;
  private readonly home: SimHome;
  private readonly operations = new Set<Operation>();
  private dead = false;
  /** Chance of each operation on the second device to make it hang, and until when it does. */
  stalls = 0;
  private stalledUntilUs = 0;

  constructor(world: World, home: SimHome, faults: Faults, latencyUs: number) {
    this.world = world;
    this.home = home;
    this.faults = faults;
    this.latencyUs = latencyUs;
  }

  prepare(): void {}

  begin(): void {}

  get inflight(): number {
    return this.operations.size;
  }

  writev(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    this.write("write", fd, iovAddress, iovCount, offset, done);
  }

  /** What it has written is durable when it ends, and only that. If it fails, it fails as a flush does. */
  writeDurably(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    const file = this.home.file(fd);
    const fails = this.world.random.chance(this.faults.flushError);
    this.write("durable write", fd, iovAddress, iovCount, offset, (result) => {
      if (fails) file.loseSome();
      else if (result > 0) {
        // A flush of the file that failed meanwhile has not taken what went past the device's cache.
        this.eachByteRange(iovAddress, iovCount, 0, result, (bytes, at) => {
          file.put(offset + at, bytes, { ended: true, isShape: false });
        });
        file.flushWithin(offset, offset + result);
      }
      done(fails ? -E.EIO : result);
    });
  }

  private write(what: string, fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    const { random } = this.world;
    const entries = iovecEntries(iovAddress, iovCount);
    const length = entries.reduce((sum, entry) => sum + entry.length, 0);
    must(length > 0, () => "a home write of no bytes");
    const error = this.refusal(fd) || (random.chance(this.faults.writeError) ? -E.EIO : 0);
    const count = error === 0 ? this.shortened(fd, length) : length;
    const file = this.home.file(fd);
    let full = 0;
    const operation = this.operation(`${what} ${offset}+${length}`, file, offset, offset + length, true);
    operation.lane = fd % 2 === 1 ? "direct" : "buffered";
    const put = (low: number, high: number) => (): void => {
      if (error !== 0 && random.chance(0.5)) return;
      this.eachByteRange(iovAddress, iovCount, low, high, (bytes, at) => {
        full ||= file.put(offset + at, bytes, operation.change);
      });
    };
    operation.steps = this.torn(offset, count).map(([low, high]) => put(low, high));
    this.beginOperation(operation, () => done(error || full || count));
  }

  readv(fd: number, iovAddress: number, iovCount: number, offset: number, done: Done): void {
    const { random } = this.world;
    const file = this.home.file(fd);
    const length = iovecEntries(iovAddress, iovCount).reduce((sum, entry) => sum + entry.length, 0);
    const error = this.refusal(fd) || (random.chance(this.faults.readError) ? -E.EIO : 0);
    const wanted = this.shortened(fd, length);
    let end = Number.POSITIVE_INFINITY;
    const operation = this.operation(`read ${offset}+${length}`, file, offset, offset + length, false);
    const get = (low: number, high: number) => (): void => {
      end = Math.min(end, Math.max(0, file.size - offset));
      this.eachByteRange(iovAddress, iovCount, low, Math.min(high, end), (bytes, at) => {
        file.now.read(offset + at, bytes);
      });
    };
    operation.steps = this.torn(offset, wanted).map(([low, high]) => get(low, high));
    this.beginOperation(operation, () => done(error || Math.min(wanted, end)));
  }

  fsync(fd: number, _dataOnly: boolean, done: Done): void {
    const file = this.home.file(fd);
    const fails = this.world.random.chance(this.faults.flushError);
    const operation = this.operation("fsync", file, 0, 0, false);
    const covered = file.covered();
    operation.steps = [() => (fails ? file.loseSome() : file.flush(covered))];
    this.beginOperation(operation, () => done(fails ? -E.EIO : 0));
  }

  fallocate(fd: number, mode: number, offset: number, length: number, done: Done): void {
    const file = this.home.file(fd);
    const operation = this.operation(`fallocate ${mode} ${offset}+${length}`, file, offset, offset + length, true);
    this.shape(operation, done, () => {
      const punch = (mode & FALLOC.PUNCH_HOLE) !== 0;
      if (!punch && !file.takeRoom(offset, length, 1)) return -E.ENOSPC;
      if (punch || (mode & FALLOC.ZERO_RANGE) !== 0) file.zero(offset, offset + length, punch, operation.change);
      if ((mode & FALLOC.KEEP_SIZE) === 0 && offset + length > file.size)
        file.resize(offset + length, operation.change);
      return 0;
    });
  }

  truncate(fd: number, length: number, done: Done): void {
    const file = this.home.file(fd);
    const operation = this.operation(`truncate ${length}`, file, length, Number.POSITIVE_INFINITY, true);
    operation.lane = "buffered"; // it may dirty the page of the old end
    this.shape(operation, done, () => {
      file.setSize(length, operation.change);
      return 0;
    });
  }

  copyRange(fdIn: number, offsetIn: number, fdOut: number, offsetOut: number, length: number, done: Done): void {
    const from = this.home.file(fdIn);
    const to = this.home.file(fdOut);
    const available = Math.max(0, Math.min(length, from.size - offsetIn));
    const count =
      available > 1 && this.world.random.chance(this.faults.short)
        ? this.world.random.between(1, available)
        : available;
    const operation = this.operation(`copy to ${offsetOut}+${count}`, to, offsetOut, offsetOut + count, true);
    this.shape(operation, done, () => {
      const result = count === 0 ? 0 : to.put(offsetOut, from.now.slice(offsetIn, offsetIn + count), operation.change);
      return result || count;
    });
  }

  /** Truncate, fallocate, copy: one step, or an error and nothing. */
  private shape(operation: Operation, done: Done, effect: () => number): void {
    const fails = this.world.random.chance(this.faults.shapeError);
    operation.change.isShape = true;
    let result = fails ? -E.EIO : 0;
    operation.steps = fails
      ? []
      : [
          () => {
            result = effect();
          },
        ];
    this.beginOperation(operation, () => done(result));
  }

  syncfs(fd: number, done: Done): void {
    this.fsync(fd, false, done);
  }

  close(fd: number, done: Done): void {
    const file = this.home.file(fd);
    this.home.close(fd);
    this.world.after(1, () => {
      if (!this.dead) done(file === undefined ? -E.EBADF : 0);
    });
  }

  post(): boolean {
    return false;
  }

  whenPostFails(): void {}

  whenReadable(): void {}

  /** Lets time pass until something happened or `timeoutUs` is over. */
  wait(timeoutUs: number): void {
    this.world.pass(this.world.nowUs() + timeoutUs);
  }

  hold(): void {}

  shutdown(): void {}

  /** The engine is killed. What it had submitted happens in part, now: its successor waits for that. */
  kill(): void {
    this.dead = true;
    for (const { steps, change } of this.operations) {
      for (const step of this.world.random.shuffle(steps)) if (this.world.random.chance(0.5)) step();
      change.ended = true;
    }
    this.operations.clear();
  }

  private refusal(fd: number): number {
    return fd % 2 === 1 && this.world.random.chance(this.faults.refusesDirect) ? -E.EINVAL : 0;
  }

  private shortened(fd: number, length: number): number {
    if (length <= 1 || !this.world.random.chance(this.faults.short)) return length;
    const count = this.world.random.between(1, length);
    return fd % 2 === 1 ? Math.ceil(count / SECTOR_BYTES) * SECTOR_BYTES : count;
  }

  /** Cuts `length` bytes at file offset `offset` at sectors into one to three ranges, in any order. */
  private torn(offset: number, length: number): [number, number][] {
    const { random } = this.world;
    const cuts = [0, length];
    for (let i = random.below(3); i > 0; i--) {
      const cut = Math.ceil((offset + random.below(length)) / SECTOR_BYTES) * SECTOR_BYTES - offset;
      if (cut > 0 && cut < length) cuts.push(cut);
    }
    cuts.sort((a, b) => a - b);
    return random.shuffle(cuts.slice(1).map((cut, i) => [cuts[i]!, cut]));
  }

  private eachByteRange(
    iov: number,
    count: number,
    low: number,
    high: number,
    each: (bytes: Uint8Array, at: number) => void,
  ): void {
    let at = 0;
    for (const { address, length } of iovecEntries(iov, count)) {
      const from = Math.max(low, at);
      const to = Math.min(high, at + length);
      if (from < to) forBytes(address + from - at, to - from, (bytes, done) => each(bytes, from + done));
      at += length;
    }
  }

  private operation(what: string, file: SimFile, low: number, high: number, writes: boolean): Operation {
    return { what, file, low, high, writes, lane: undefined, steps: [], change: { ended: false, isShape: false } };
  }

  private beginOperation(operation: Operation, end: () => void): void {
    const { random } = this.world;
    const dies = --this.submissionsLeft === 0;
    if (dies && random.chance(0.5)) throw new Killed();
    this.world.note(() => `    home ${operation.file.slot}: ${operation.what}`);
    this.checkOverlap(operation);
    this.operations.add(operation);
    if (dies) throw new Killed();
    const takes =
      this.stallOf(operation.file) + (random.chance(0.02) ? this.latencyUs * 50 : random.magnitude(this.latencyUs));
    for (const step of operation.steps.slice()) {
      this.world.after(random.below(takes), () => {
        const index = operation.steps.indexOf(step);
        if (this.dead || index < 0) return;
        operation.steps.splice(index, 1);
        step();
      });
    }
    this.world.after(takes, () => {
      if (this.dead) return;
      this.operations.delete(operation);
      operation.change.ended = true;
      end();
    });
  }

  /** For how long the device of `file` hangs, microseconds. */
  private stallOf(file: SimFile): number {
    if (this.stalls === 0 || this.home.files.get(file.slot) !== file || this.home.deviceOf(file.slot) !== 1) return 0;
    const { random } = this.world;
    const now = this.world.nowUs();
    if (this.stalledUntilUs <= now && random.chance(this.stalls)) this.stalledUntilUs = now + random.between(4e6, 15e6);
    return Math.max(0, this.stalledUntilUs - now);
  }

  private checkOverlap(operation: Operation): void {
    if (!operation.writes) return;
    for (const other of this.operations) {
      if (!other.writes || other.file !== operation.file) continue;
      const [slot, first, second] = [other.file.slot, other.what, operation.what];
      must(
        operation.high <= other.low || other.high <= operation.low,
        () => `two home operations overlap in image ${slot}: ${first} is under way, ${second} begins`,
      );
      must(
        operation.lane === undefined || other.lane === undefined || operation.lane === other.lane,
        () => `in image ${slot} ${first} is under way (${other.lane}), ${second} begins (${operation.lane})`,
      );
    }
  }
}
