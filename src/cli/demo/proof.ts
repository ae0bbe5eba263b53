/** Looks into a guest's disk image from outside, to hold it against what the guest reported. */
import { createHash } from "node:crypto";
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Failure } from "../../base/errors.ts";
import { runCommand } from "./command.ts";
import type { GuestReport } from "./guest.ts";
import { programPath } from "./initramfs.ts";

/** SHA-256 in hex by file name, for example `data/file3`. */
export type Sums = ReadonlyMap<string, string>;

const SUM_FACT = "sha256:";

/** The checksums that the guest's script reported. */
export function reportedSums(report: GuestReport): Sums {
  const facts = [...report.facts].filter(([name]) => name.startsWith(SUM_FACT));
  return new Map(facts.map(([name, sum]) => [name.slice(SUM_FACT.length), sum]));
}

/** The checksums of the files under `data/` in the ext4 filesystem that raw image `image` holds, read without mounting it. */
export async function sumsInImage(image: string): Promise<Sums> {
  const folder = mkdtempSync(join(tmpdir(), "hypegear-proof-"));
  try {
    await runCommand(programPath("debugfs", "e2fsprogs"), ["-R", `rdump /data ${folder}`, image]);
    const names = readdirSync(folder, { recursive: true, encoding: "utf8" });
    const files = names.filter((name) => statSync(join(folder, name)).isFile());
    return new Map(files.sort().map((name) => [name, sumOfFile(join(folder, name))]));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

export const sumOfFile = (path: string): string => createHash("sha256").update(readFileSync(path)).digest("hex");

/** Fails unless `e2fsck -fn` finds nothing to mend in raw image `image`. Changes nothing. */
export async function checkFilesystem(image: string): Promise<void> {
  await runCommand(programPath("e2fsck", "e2fsprogs"), ["-fn", image]);
}

/** Fails, naming the first file that differs, unless the image holds just what the guest reported. */
export async function checkSums(image: string, reported: Sums): Promise<void> {
  const found = await sumsInImage(image);
  const names = new Set([...reported.keys(), ...found.keys()]);
  for (const name of names) {
    if (reported.get(name) === found.get(name)) continue;
    const [wanted, got] = [reported, found].map((sums) => sums.get(name) ?? "no such file");
    throw new Failure(`${image} does not hold what the guest wrote: ${name} is ${got}, the guest reported ${wanted}`);
  }
  if (names.size === 0) throw new Failure(`${image} holds no files and the guest reported none: nothing was proved`);
}
