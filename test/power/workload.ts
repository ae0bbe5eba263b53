/**
 * A client that writes stamps, flushes, and notes what was promised when: `workload.js ROOT LOG NOTES SEED STEPS`. LOG is the log of
 * the device below, or `-`. Prints a line at the first promise. Each of its actors ends after about STEPS steps, or at its
 * first error, of which it prints a line.
 */
import { openSync } from "node:fs";
import { Random } from "../sim/random.ts";
import { appender, disk, filer, flusher } from "./actors.ts";
import { Client } from "./client.ts";

const [root, log, notes, seed, stepsText] = process.argv.slice(2) as [string, string, string, string, string];
const steps = Number(stepsText);
const client = new Client(root, log === "-" ? undefined : openSync(log, "r"), openSync(notes, "a"));
const random = new Random(Number(seed));

async function play(name: string, act: (random: Random) => Promise<void>): Promise<void> {
  try {
    await act(new Random(random.word()));
  } catch (error) {
    const { code, syscall } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    console.log(`${name}: ${syscall}: ${code}`);
  }
}

// Names are made one at a time: by this, and then by `filer` alone.
const direct = await client.create("direct", "direct");
const buffered = await client.create("buffered", "buffered");
const dsync = await client.create("dsync", "dsync");
const grown = await client.create("grown", "buffered");
await client.flushDirectory();

await Promise.all([
  play("direct", (choices) => disk(client, direct, choices, steps)),
  play("buffered", (choices) => disk(client, buffered, choices, steps)),
  play("flusher", (choices) => flusher(client, buffered, choices, steps)),
  play("dsync", (choices) => disk(client, dsync, choices, steps / 2)),
  play("appender", (choices) => appender(client, grown, choices, steps)),
  play("filer", (choices) => filer(client, choices, steps / 2)),
]);
