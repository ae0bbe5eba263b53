/** The images that `lockstep.ts`, and `growing.ts`, write to. */
import { closeSync, fsyncSync, openSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { SECTOR_BYTES } from "./stamp.ts";

/** Small enough to be read whole after every cut. */
export const LOCKSTEP_SECTORS = 4096;

const NAMES = ["a", "b", "beside"] as const;

/** Makes them in `directory`, all zeros, on stable media: two of holes, one of written blocks. */
export function makeLockstepImages(directory: string): void {
  for (const name of NAMES) {
    const path = join(directory, name);
    writeFileSync(path, Buffer.alloc(name === "b" ? LOCKSTEP_SECTORS * SECTOR_BYTES : 0));
    truncateSync(path, LOCKSTEP_SECTORS * SECTOR_BYTES);
  }
  flushAll(directory, [...NAMES, "."]);
}

/** The same of those that are to grow: empty. */
export function makeGrowingImages(directory: string): void {
  for (const name of ["a", "b"]) writeFileSync(join(directory, name), "");
  flushAll(directory, ["a", "b", "."]);
}

function flushAll(directory: string, names: readonly string[]): void {
  for (const name of names) {
    const fd = openSync(join(directory, name), "r");
    fsyncSync(fd);
    closeSync(fd);
  }
}
