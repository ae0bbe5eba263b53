/** What a power cut would leave of a dead mount: its images, with what its journal holds brought home, as copies. */
import { copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { ExitCode, Failure } from "../../base/errors.ts";
import { PositionedFile } from "../../device/positioned-file.ts";
import { type ReplayFile, replay } from "../../journal/replay.ts";
import { readSuperblocks } from "../../journal/superblock.ts";
import { unwritten } from "../../keeper/rehearsal.ts";
import { FileOfBacking } from "../../keeper/replay-target.ts";
import { O } from "../../sys/constants.ts";

/** Copies `images` of `backing` into the directory `into`, and replays the journal into them. Throws what recovery throws. */
export function recoverCopies(backing: string, images: readonly string[], into: string): void {
  mkdirSync(into, { recursive: true });
  for (const name of images) copyFileSync(join(backing, name), join(into, name));
  const path = join(backing, ".hypegear/journal");
  if (!existsSync(path) || isVoid(backing)) return;
  const file = opened(path, O.RDONLY);
  try {
    const { superblock, state } = readSuperblocks(file);
    if (superblock === undefined) throw new Failure(`${path}: the journal is ${state}`, ExitCode.refused);
    const target = { nowMs: () => 0, open: (_: unknown, name: string) => copyOf(join(into, basename(name))) };
    const options = { backing, journal: path, force: false, progress: () => undefined };
    replay(unwritten(file), superblock, target, options);
  } finally {
    file.close();
  }
}

const isVoid = (backing: string): boolean =>
  existsSync(join(backing, ".hypegear/void")) && readFileSync(join(backing, ".hypegear/void"), "latin1").trim() !== "";

function opened(path: string, flags: number): PositionedFile {
  const file = PositionedFile.open(path, flags);
  if (typeof file === "number") throw new Failure(`${path}: cannot be opened`);
  return file;
}

/** A copy is younger than what it is a copy of. */
const copyOf = (path: string): ReplayFile =>
  Object.create(new FileOfBacking(opened(path, O.RDWR).fd), { modifiedMs: { value: 0 } }) as ReplayFile;
