/**
 * A client of `ordered`: `lockstep.js ROOT LOG NOTES SEED MS`. It writes to image `a`, and when that is answered to `b`, and so on for
 * MS milliseconds, so that each is never more than a step ahead of the other; and to `beside` meanwhile, several at a time. All
 * have LOCKSTEP_SECTORS sectors. It notes when each step was answered. In the second half, steps that change an image's
 * shape come in between: those are committed when they are answered, and take along what came before.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../sim/random.ts";
import { blocks, sectors } from "./actors.ts";
import type { ImageFile } from "./client.ts";
import { LOCKSTEP_SECTORS } from "./lockstep-images.ts";
import { answers, client, past, random } from "./timed.ts";

const PAUSE_MS_MAX = 6;
const DEPTH = 2;
const BESIDE_SECTORS_MAX = 256;
const BESIDE_PAUSE_MS_MAX = 30;

async function step(file: ImageFile): Promise<void> {
  const [first, count] = random.chance(0.7) ? blocks(random, LOCKSTEP_SECTORS) : sectors(random, LOCKSTEP_SECTORS);
  if (!past(0.5) || random.chance(0.98)) await client.write(file, first, count);
  else if (random.chance(0.5)) await client.punch(file, first, count);
  else await client.truncate(file, random.between(LOCKSTEP_SECTORS / 2, LOCKSTEP_SECTORS));
  if (random.chance(0.1)) await client.flush(file, random.chance(0.5));
}

/** Each has a part of the image to itself, so that no two writes overlap. */
async function writeBeside(file: ImageFile, part: number, choices: Random): Promise<void> {
  const size = LOCKSTEP_SECTORS / DEPTH;
  while (!past(1)) {
    const count = choices.magnitude(BESIDE_SECTORS_MAX);
    await client.write(file, part * size + choices.below(size - count), count);
    await sleep(choices.below(BESIDE_PAUSE_MS_MAX));
  }
}

async function writeInTurns(files: readonly ImageFile[]): Promise<void> {
  while (!past(1)) {
    for (const file of files) await step(file);
    await sleep(random.below(PAUSE_MS_MAX));
  }
}

const a = await client.open("a", "direct", LOCKSTEP_SECTORS);
const b = await client.open("b", "buffered", LOCKSTEP_SECTORS);
const beside = await client.open("beside", "direct", LOCKSTEP_SECTORS);
const watch = answers.watch();
const others = Array.from({ length: DEPTH }, (_, part) => writeBeside(beside, part, new Random(random.word())));
await client.flush(a, false);
await Promise.all([writeInTurns([a, b]), ...others]);
watch.stop();
