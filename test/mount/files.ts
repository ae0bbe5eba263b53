/** Small things with files that several mount tests do, each in a process of its own. */
import { join } from "node:path";
import { expect } from "vitest";
import type { ImagesDocument, StatsDocument } from "../../src/stats/document.ts";
import type { Daemon } from "../support/daemon.ts";
import { type Outcome, run, succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";

export const MiB = 2 ** 20;

/** A file of `mib` MiB of random bytes. */
export async function noise(mib: number): Promise<string> {
  const file = join(scratchDirectory("noise"), "noise");
  await succeed("sh", ["-c", `head -c ${mib * MiB} /dev/urandom > ${file}`]);
  return file;
}

/** Copies `mib` MiB from `source` to the same place of `file`, at `at` MiB, a MiB a write. */
export const write = (source: string, file: string, at: number, mib: number, ...more: string[]): Promise<Outcome> =>
  run("dd", [
    `if=${source}`,
    `of=${file}`,
    "bs=1M",
    `seek=${at}`,
    `skip=${at}`,
    `count=${mib}`,
    "conv=notrunc",
    ...more,
  ]);

/** How many whole MiB a failed `write` put down. */
export const mibWritten = ({ stderr }: Outcome): number => Number(/^(\d+)\+\d+ records out/m.exec(stderr)![1]);

const FSYNC = "import os,sys; os.fsync(os.open(sys.argv[1], os.O_RDONLY))";
export const fsync = (file: string): Promise<Outcome> => run("python3", ["-c", FSYNC, file]);

/** Fails unless the first `bytes` (default: all) of two files are the same. */
export const expectSame = async (one: string, other: string, bytes?: number): Promise<void> =>
  expect(await run("cmp", [...(bytes === undefined ? [] : ["-n", String(bytes)]), one, other])).toMatchObject({
    code: 0,
  });

const control = async (daemon: Daemon, name: string): Promise<unknown> =>
  JSON.parse(await succeed("cat", [join(daemon.mountpoint, ".hypegear", name)]));
export const statsOf = (daemon: Daemon): Promise<StatsDocument> =>
  control(daemon, "stats.json") as Promise<StatsDocument>;
export const imagesOf = (daemon: Daemon): Promise<ImagesDocument> =>
  control(daemon, "images.json") as Promise<ImagesDocument>;
