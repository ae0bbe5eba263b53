/**
 * A client of `ordered` that copies images in: `growing.js ROOT LOG NOTES SEED MS`. It appends to image `a`, and when that is answered to
 * `b`, and so on for MS milliseconds, so that each is never more than a step ahead of the other. Half the time through it makes both as
 * long as they may become, and goes on into what is a hole from then on. It notes when each step was answered.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ImageFile } from "./client.ts";
import { answers, client, past, random } from "./timed.ts";

const PAUSE_MS_MAX = 40;
const SECTORS_MAX = 512;
const BLOCK_SECTORS = 8;
/** Small enough to be read whole after every cut. */
const IMAGE_SECTORS_MAX = 40_000;
/** Most steps are of whole blocks: others are not for home before the journal has them. */
const WHOLE = 0.9;

/** Where what was copied into each image ends. */
const ends = new Map<ImageFile, number>();
const endOf = (file: ImageFile): number => ends.get(file) ?? 0;

async function step(file: ImageFile): Promise<void> {
  const end = endOf(file);
  const count = random.between(1, SECTORS_MAX);
  const toBlock = BLOCK_SECTORS - ((end + count) % BLOCK_SECTORS);
  const sectors = random.chance(WHOLE) ? count + toBlock : count;
  await client.write(file, end, sectors);
  ends.set(file, end + sectors);
  if (random.chance(0.05)) await client.write(file, random.below(end + sectors), 1);
  if (random.chance(0.05)) await client.flush(file, random.chance(0.5));
}

const a = await client.open("a", "buffered", 0);
const b = await client.open("b", "buffered", 0);
const watch = answers.watch();
await client.flush(a, false);
while (!past(1) && endOf(a) + SECTORS_MAX + BLOCK_SECTORS <= IMAGE_SECTORS_MAX) {
  if (past(0.5) && a.size < IMAGE_SECTORS_MAX)
    for (const file of [a, b]) await client.truncate(file, IMAGE_SECTORS_MAX);
  for (const file of [a, b]) await step(file);
  await sleep(random.below(PAUSE_MS_MAX));
}
watch.stop();
