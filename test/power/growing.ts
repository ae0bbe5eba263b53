/**
 * A client of `ordered` that copies images in: `growing.js ROOT LOG NOTES SEED MS`. It appends to image `a`, and when that is answered to
 * `b`, and so on for MS milliseconds, so that each is never more than a step ahead of the other. It notes when each step was answered.
 */
import { openSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Random } from "../sim/random.ts";
import { AnswerNotes } from "./answers.ts";
import { Client, type ImageFile } from "./client.ts";

const PAUSE_MS_MAX = 40;
const SECTORS_MAX = 512;
/** Small enough to be read whole after every cut. */
const IMAGE_SECTORS_MAX = 40_000;
/** Most steps are of whole blocks: others are not for home before the journal has them. */
const WHOLE = 0.9;
const BLOCK_SECTORS = 8;

const [root, logPath, notesPath, seed, ms] = process.argv.slice(2) as [string, string, string, string, string];
const log = openSync(logPath, "r");
const notes = openSync(notesPath, "a");
const answers = new AnswerNotes(notes, log);
const client = new Client(root, log, notes, answers);
const random = new Random(Number(seed));
const end = performance.now() + Number(ms);

async function step(file: ImageFile): Promise<void> {
  const count = random.between(1, SECTORS_MAX);
  const toBlock = BLOCK_SECTORS - ((file.size + count) % BLOCK_SECTORS);
  await client.write(file, file.size, random.chance(WHOLE) ? count + toBlock : count);
  if (random.chance(0.05)) await client.write(file, random.below(file.size), 1);
  if (random.chance(0.05)) await client.flush(file, random.chance(0.5));
}

const a = await client.open("a", "buffered", 0);
const b = await client.open("b", "buffered", 0);
const watch = answers.watch();
await client.flush(a, false);
while (performance.now() < end && a.size < IMAGE_SECTORS_MAX) {
  for (const file of [a, b]) await step(file);
  await sleep(random.below(PAUSE_MS_MAX));
}
watch.stop();
