/** C helpers of these tests, compiled into a scratch directory. */
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { succeed } from "../support/run.ts";
import type { Scope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";

/** Sources stay in `test/`: the build has no C. */
export const SOURCES = fileURLToPath(
  new URL(import.meta.url.endsWith(".ts") ? "." : "../../../test/posix/", import.meta.url),
);

/** Path of the program that these C files of this folder make. */
export async function compile(scope: Scope, ...sources: string[]): Promise<string> {
  const program = join(scratchDirectory("program", scope), "program");
  await succeed("gcc", ["-O2", "-Wall", "-o", program, ...sources.map((source) => join(SOURCES, source))]);
  return program;
}
