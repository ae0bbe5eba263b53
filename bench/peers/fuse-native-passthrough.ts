/**
 * A passthrough on the package fuse-native: `fuse-native-passthrough MOUNTPOINT BACKING default|tuned`. Ends at SIGTERM.
 *
 * `default` is what its users write: callbacks of `fs`, the package's own options. `tuned` is the fastest found: synchronous
 * calls (a file in the page cache answers sooner than the thread pool), no timer per request, `big_writes` and `direct_io` of
 * libfuse 2.9, for which the package has no options, so they ride on `fsname`, and attributes that stay valid.
 */
import * as fs from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";

type Answer = (error: number, value?: unknown) => void;
type Transfer = (
  path: string,
  fd: number,
  bytes: Buffer,
  length: number,
  at: number,
  answer: (count: number) => void,
) => void;
type Transfers = { read: Transfer; write: Transfer };

interface FuseMount {
  mount(done: (error: Error | null) => void): void;
  unmount(done: (error: Error | null) => void): void;
}
type FuseNative = new (
  mountpoint: string,
  operations: Record<string, unknown>,
  options: Record<string, unknown>,
) => FuseMount;

const EIO = -5;
const errnoOf = (error: unknown): number => (error as { errno?: number }).errno ?? EIO;

/** Answers with what `act` returns. */
function answered(answer: Answer, act: () => unknown): void {
  let value: unknown;
  try {
    value = act();
  } catch (error) {
    answer(errnoOf(error));
    return;
  }
  answer(0, value);
}

/** As `answered`, for reads and writes: fuse-native wants the count, or the error, as the first argument. */
function counted(answer: (count: number) => void, act: () => number): void {
  let count: number;
  try {
    count = act();
  } catch (error) {
    count = errnoOf(error);
  }
  answer(count);
}

const tunedTransfers: Transfers = {
  read: (_path, fd, bytes, length, at, answer) => counted(answer, () => fs.readSync(fd, bytes, 0, length, at)),
  write: (_path, fd, bytes, length, at, answer) => counted(answer, () => fs.writeSync(fd, bytes, 0, length, at)),
};

const defaultTransfers: Transfers = {
  read: (_path, fd, bytes, length, at, answer) =>
    fs.read(fd, bytes, 0, length, at, (error, count) => answer(error ? errnoOf(error) : count)),
  write: (_path, fd, bytes, length, at, answer) =>
    fs.write(fd, bytes, 0, length, at, (error, count) => answer(error ? errnoOf(error) : count)),
};

function operationsOn(backing: string, transfers: Transfers): Record<string, unknown> {
  const here = (path: string) => join(backing, path);
  return {
    getattr: (path: string, answer: Answer) => answered(answer, () => fs.lstatSync(here(path))),
    readdir: (path: string, answer: Answer) => answered(answer, () => fs.readdirSync(here(path))),
    open: (path: string, _flags: number, answer: Answer) => answered(answer, () => fs.openSync(here(path), "r+")),
    release: (_path: string, fd: number, answer: Answer) => answered(answer, () => fs.closeSync(fd)),
    fsync: (_path: string, _datasync: number, fd: number, answer: Answer) => answered(answer, () => fs.fsyncSync(fd)),
    truncate: (path: string, size: number, answer: Answer) => answered(answer, () => fs.truncateSync(here(path), size)),
    ...transfers,
  };
}

const SECONDS_VALID = 3600;
const TUNED_OPTIONS = {
  timeout: false,
  fsname: "fuse-native,big_writes,direct_io,max_write=131072",
  attrTimeout: SECONDS_VALID,
  entryTimeout: SECONDS_VALID,
};

function main(mountpoint: string, backing: string, variant: string): void {
  const require = createRequire(import.meta.url);
  const Fuse = require("fuse-native") as FuseNative;
  const tuned = variant === "tuned";
  const operations = operationsOn(backing, tuned ? tunedTransfers : defaultTransfers);
  const fuse = new Fuse(mountpoint, operations, tuned ? TUNED_OPTIONS : {});
  const end = (error: Error | null): void => {
    if (error) process.stderr.write(`fuse-native-passthrough: ${error.message}\n`);
    process.exit(error ? 1 : 0);
  };
  process.once("SIGTERM", () => fuse.unmount(end));
  fuse.mount((error) => {
    if (error) end(error);
  });
}

main(process.argv[2]!, process.argv[3]!, process.argv[4]!);
