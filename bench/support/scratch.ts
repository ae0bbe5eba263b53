/** The bench's own directory, and the files of data in it. */

import { randomFillSync } from "node:crypto";
import { closeSync, fsyncSync, mkdtempSync, openSync, realpathSync, rmSync, writeSync } from "node:fs";
import { join } from "node:path";
import type { Cleanup } from "./cleanup.ts";

const CHUNK_BYTES = 2 ** 20;

/** A new directory below `parent`, removed by `cleanup`. */
export function makeScratch(parent: string, cleanup: Cleanup): string {
  const path = realpathSync(mkdtempSync(join(parent, "hypegear-bench-")));
  cleanup.add(() => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A file without holes, of bytes that are not zero, on its disk when this returns. */
export function writeImage(path: string, bytes: number): void {
  const chunk = randomFillSync(Buffer.alloc(CHUNK_BYTES));
  const fd = openSync(path, "wx");
  try {
    for (let at = 0; at < bytes; at += CHUNK_BYTES) writeSync(fd, chunk, 0, Math.min(CHUNK_BYTES, bytes - at), at);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
