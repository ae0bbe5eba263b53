/** Files for the tests of tools, the same in every run, and what a directory holds in comparable form. */
import {
  chmodSync,
  closeSync,
  linkSync,
  mkdirSync,
  openSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";

const KiB = 1024;
const MiB = 1024 * KiB;

/** Size of `islands`, bytes: most of it holes. */
export const ISLANDS_BYTES = 32 * MiB;
/** Where `islands` holds data: offset and length in bytes, at block edges and off them. */
export const ISLANDS = [
  [0, 64 * KiB],
  [1 * MiB + 5, 3 * MiB],
  [17 * MiB, 4 * KiB],
  [ISLANDS_BYTES - 1000, 1000],
] as const;

/**
 * A directory with `islands`, a sparse file; `odd`, of 3,000,001 bytes; and `tree/`, small files with several modes and
 * times, a hard link and a symbolic link. No block of data is all zeros.
 */
export function sourceDirectory(): string {
  const source = scratchDirectory("source");
  writeIslands(join(source, "islands"));
  writeFileSync(join(source, "odd"), bytes(3_000_001, 7));
  writeTree(join(source, "tree"));
  return source;
}

function writeIslands(path: string): void {
  const file = openSync(path, "w");
  for (const [index, [offset, length]] of ISLANDS.entries()) writeSync(file, bytes(length, index), 0, length, offset);
  closeSync(file);
  truncateSync(path, ISLANDS_BYTES);
}

function writeTree(tree: string): void {
  mkdirSync(join(tree, "below", "further"), { recursive: true });
  for (let i = 0; i < 30; i++) {
    const path = join(tree, i % 3 === 0 ? "below" : "below/further", `file${i}`);
    writeFileSync(path, bytes(i * i * 37, i));
    chmodSync(path, [0o644, 0o600, 0o755, 0o440][i % 4]!);
    utimesSync(path, 1_600_000_000, 1_500_000_000 + i + 0.25);
  }
  linkSync(join(tree, "below", "file0"), join(tree, "linked"));
  symlinkSync("below/further", join(tree, "shortcut"));
}

/** `length` bytes that `seed` determines (a multiplicative generator modulo 2^31 - 1). */
export function bytes(length: number, seed: number): Buffer {
  const buffer = Buffer.alloc(length);
  let state = seed + 1;
  for (let i = 0; i < length; i++) {
    state = (state * 48271) % 0x7fffffff;
    buffer[i] = state >> 8;
  }
  return buffer;
}

/** Too large to be read whole in a test; its end is compared. */
const HUGE = "huge";

const INVENTORY = `
find . -path ./.hypegear -prune -o -type f -printf 'file %p %m %n %s\\n' | sort
find . -mindepth 1 -path ./.hypegear -prune -o -type d -printf 'folder %p %m\\n' | sort
find . -path ./.hypegear -prune -o -type l -printf 'link %p %l\\n' | sort
find . -path ./.hypegear -prune -o -type f ! -name ${HUGE} -print0 | sort -z | xargs -0r sha256sum
if [ -e ${HUGE} ]; then tail -c 1M ${HUGE} | sha256sum; fi
`;

/** Names, modes, links, sizes and checksums of everything in `directory` but hypegear's own, as text to be compared. */
export const inventory = (directory: string): Promise<string> => succeed("sh", ["-euc", INVENTORY], { cwd: directory });
