import { beforeEach, expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import { SPACE_MARGIN_BYTES, SPACE_RECHECK_US } from "../../src/base/limits.ts";
import { asSlot, BLOCK_BYTES } from "../../src/base/units.ts";
import type { FrameTable } from "../../src/cache/frames.ts";
import type { Image } from "../../src/cache/images.ts";
import { Space } from "../../src/volume/space.ts";

const MiB = 2 ** 20;
const device = (major: number, minor: number): number => major * 2 ** 20 + minor;

let space: Space;
let nowUs: number;
/** The block of each frame. */
let blocks: number[];
beforeEach(() => {
  nowUs = 0;
  blocks = [];
  begin();
});

/** An engine begins. */
function begin(): void {
  space = new Space(
    { block: (frame: number) => blocks[frame]! } as unknown as FrameTable,
    () => nowUs,
    () => undefined,
  );
}

/** A filesystem with `freeMiB`, of which images allocate what they reserve. */
class Disk {
  freeBytes: number;
  readonly device: number;
  constructor(freeMiB: number, number: number) {
    this.freeBytes = freeMiB * MiB;
    this.device = number;
  }
  /** With so much above the margin. */
  static spare(mib: number, number = device(8, 1)): Disk {
    return new Disk(SPACE_MARGIN_BYTES / MiB + mib, number);
  }
}

let slots = 0;

/** An image that is all hole. */
class Sparse {
  readonly slot = asSlot(slots++);
  readonly homeSize = 0;
  readonly dirty = { head: -1, after: (frame: number) => this.frames[this.frames.indexOf(frame) + 1] ?? -1 };
  readonly allocated = new Set<number>();
  readonly file;
  private readonly frames: number[] = [];

  constructor(disk: Disk, number = disk.device) {
    this.file = {
      device: number,
      freeBytes: () => disk.freeBytes,
      makeWritable: () => 0,
      seek: () => -E.ENXIO,
      reserve: (offset: number, length: number) => this.reserve(disk, offset, length),
    };
  }
  hasFlag(): boolean {
    return false;
  }
  private reserve(disk: Disk, offset: number, length: number): number {
    const all = Array.from({ length: length / BLOCK_BYTES }, (_, i) => offset / BLOCK_BYTES + i);
    const missing = all.filter((block) => !this.allocated.has(block));
    if (disk.freeBytes < missing.length * BLOCK_BYTES) return -E.ENOSPC;
    disk.freeBytes -= missing.length * BLOCK_BYTES;
    for (const block of missing) this.allocated.add(block);
    return 0;
  }
  /** A write of `count` blocks; what is answered. */
  write(block: number, count: number): number {
    const result = space.reserve(this as unknown as Image, block * BLOCK_BYTES, count * BLOCK_BYTES);
    if (result < 0) return result;
    for (let i = 0; i < count; i++) this.frames.push(blocks.push(block + i) - 1);
    this.dirty.head = this.frames[0] ?? -1;
    return result;
  }
  /** Writes MiB after MiB, backwards, until one is refused; how many were taken. */
  fill(): number {
    for (let taken = 0; ; taken++) if (this.write((1000 - taken) * 256, 256) < 0) return taken;
  }
  /** Blocks that are dirty and have no room. */
  get lacking(): number {
    return this.frames.filter((frame) => !this.allocated.has(blocks[frame]!)).length;
  }
}

it("goes by what is free on the image's own device", () => {
  const [large, small] = [new Sparse(Disk.spare(100)), new Sparse(new Disk(10, device(8, 2)))];
  expect(large.write(0, 256)).toBe(0);
  expect(small.fill()).toBe(10);
  expect([large.lacking, small.lacking]).toEqual([256, 0]);
});

it("puts aside what is free once, however many images a device has", () => {
  const disk = Disk.spare(10);
  const [one, other] = [new Sparse(disk), new Sparse(disk)];
  for (let i = 0; i < 6; i++) expect(one.write(i * 256, 256)).toBe(0);
  for (let i = 0; i < 4; i++) expect(other.write(i * 256, 256)).toBe(0);
  expect(disk.freeBytes).toBe(SPACE_MARGIN_BYTES + 10 * MiB);
  expect(other.write(4 * 256, 256)).toBe(0);
  expect(disk.freeBytes).toBe(SPACE_MARGIN_BYTES - MiB);
  expect([one.lacking, other.lacking]).toEqual([0, 0]);
});

it("takes devices without a number of their own for one filesystem", () => {
  const disk = Disk.spare(100, device(0, 41));
  const [one, other] = [new Sparse(disk), new Sparse(disk, device(0, 42))];
  expect(one.write(0, 30 * 256)).toBe(0);
  expect(other.write(0, 20 * 256)).toBe(0);
  expect(one.fill()).toBe(SPACE_MARGIN_BYTES / MiB + 50);
  expect(disk.freeBytes).toBe(0);
  expect([one.lacking, other.lacking]).toEqual([0, 0]);
});

it("accepts no more than there is room for, and allocates all when it gets short", () => {
  const disk = Disk.spare(20);
  const image = new Sparse(disk);
  for (let block = 0; block < 100; block += 10) expect(image.write(block * 256, 3)).toBe(0);
  const before = disk.freeBytes;
  expect(image.fill()).toBe(Math.floor((before - 30 * BLOCK_BYTES) / MiB));
  expect(image.lacking).toBe(0);
  space.close(image.slot);
  nowUs += SPACE_RECHECK_US;
  expect(image.write(50, 1)).toBe(0); // of the rest
});

it("keeps room for what is dirty elsewhere when holes come about, and for what an earlier engine accepted", () => {
  const disk = Disk.spare(20);
  const [holed, adopted] = [new Sparse(disk), new Sparse(disk)];
  expect(adopted.write(0, 256)).toBe(0);
  begin();
  space.takeOver(adopted as unknown as Image);
  expect(holed.write(0, 256)).toBe(0);
  space.forget(holed.slot);
  new Sparse(disk).fill();
  expect([holed.lacking, adopted.lacking]).toEqual([0, 0]);
});

it("does not take room for what an earlier engine accepted as room for more beside it", () => {
  const disk = Disk.spare(2);
  const image = new Sparse(disk);
  expect(image.write(0, 1)).toBe(0);
  disk.freeBytes = 2 * BLOCK_BYTES;
  begin();
  space.takeOver(image as unknown as Image);
  expect(image.write(1, 1)).toBe(0);
  expect(image.write(2, 1)).toBe(-E.ENOSPC);
  expect(image.lacking).toBe(0);
});

it("lends no room that is put aside", () => {
  const disk = Disk.spare(20);
  const [image, other] = [new Sparse(disk), new Sparse(disk)];
  expect(image.write(0, 3)).toBe(0);
  space.lend(image as unknown as Image, 19 * MiB)();
  expect(image.lacking).toBe(3);
  const ended = space.lend(image as unknown as Image, 20 * MiB);
  expect(image.lacking).toBe(0);
  expect(other.write(0, 1)).toBe(0); // 20 MiB are as good as taken
  expect(other.lacking).toBe(0);
  ended();
  nowUs += SPACE_RECHECK_US;
  expect(other.write(1000, 1)).toBe(0);
  expect(other.lacking).toBe(1);
});

it("refuses what needs room while what is put aside has none, and tries again", () => {
  const disk = Disk.spare(2);
  const [first, second] = [new Sparse(disk), new Sparse(disk)];
  expect(first.write(0, 256)).toBe(0);
  disk.freeBytes = MiB / 2; // somebody else takes it
  expect(second.write(0, 512)).toBe(-E.ENOSPC);
  disk.freeBytes = 3 * MiB;
  expect(second.write(0, 512)).toBe(-E.ENOSPC);
  nowUs += SPACE_RECHECK_US;
  expect(second.write(0, 512)).toBe(0);
  expect([first.lacking, second.lacking]).toEqual([0, 0]);
});
