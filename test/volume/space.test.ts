import { beforeEach, expect, it } from "vitest";
import { E } from "../../src/base/errno.ts";
import { SPACE_MARGIN_BYTES, SPACE_RECHECK_US } from "../../src/base/limits.ts";
import { asSlot } from "../../src/base/units.ts";
import type { Image } from "../../src/cache/images.ts";
import { Space } from "../../src/volume/space.ts";

const MiB = 2 ** 20;
const device = (major: number, minor: number): number => major * 2 ** 20 + minor;

let space: Space;
let nowUs: number;
beforeEach(() => {
  nowUs = 0;
  space = new Space(
    () => nowUs,
    () => undefined,
  );
});

let slots = 0;

/** An image that is all hole, on a device with `spare` MiB above the margin, where nothing can be allocated. */
function sparse(spare: number, on: number): Image {
  const file = {
    device: on,
    freeBytes: () => SPACE_MARGIN_BYTES + spare * MiB,
    seek: () => -E.ENXIO,
    reserve: () => -E.ENOSPC,
  };
  return { slot: asSlot(slots++), homeSize: 0, hasFlag: () => false, file } as unknown as Image;
}

/** MiB of `image` that are taken before a write is refused. */
function accepted(image: Image): number {
  for (let chunk = 0; ; chunk++) if (space.reserve(image, chunk * MiB, MiB) < 0) return chunk;
}

it("puts aside no more than is free on the image's own device", () => {
  const [large, small] = [sparse(100, device(8, 1)), sparse(10, device(8, 2))];
  expect(space.reserve(large, 0, MiB)).toBe(0);
  expect(accepted(small)).toBe(10);
  expect(accepted(large)).toBe(100);
});

it("puts aside what is free once, however many images a device has, and again when an image is clean", () => {
  const [one, other] = [sparse(10, device(8, 1)), sparse(10, device(8, 1))];
  expect(space.reserve(one, 0, 4 * MiB)).toBe(0);
  expect(accepted(other)).toBe(6);
  space.forget(one.slot);
  nowUs = SPACE_RECHECK_US;
  expect(accepted(other)).toBe(10);
});

it("takes devices without a number of their own for one filesystem", () => {
  const [one, other] = [sparse(100, device(0, 41)), sparse(100, device(0, 42))];
  expect(space.reserve(one, 0, 30 * MiB)).toBe(0);
  expect(space.reserve(other, 0, 20 * MiB)).toBe(0);
  expect(accepted(one)).toBe(80);
});
