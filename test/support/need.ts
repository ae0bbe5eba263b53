/** What a test needs of the host. A test that cannot run says why; the run prints every reason at its end. */
import { accessSync, constants, existsSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "vitest";

const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/sbin"];

/** True if `command` can be run. */
export const hasCommand = (command: string): boolean => folders.some((folder) => isExecutable(join(folder, command)));

/**
 * Skips the running test unless all of `things` are there: a command's name, a path (`/dev/fuse`), or `root`.
 * Call it first in the test: `test("...", async (context) => { need(context, "root", "fio"); ... })`.
 */
export function need(context: TestContext, ...things: string[]): void {
  const missing = things.filter((thing) => !has(thing));
  context.skip(
    missing.length > 0,
    `${missing.join(", ")} missing here (bin/setup as root on Debian brings what can be installed)`,
  );
}

function has(thing: string): boolean {
  if (thing === "root") return process.getuid?.() === 0;
  return thing.startsWith("/") ? existsSync(thing) : hasCommand(thing);
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
