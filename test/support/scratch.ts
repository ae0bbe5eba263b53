/** Scratch directories, each below the run's own root and gone when its scope ends. */
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { RUN_ROOT } from "./marks.ts";
import { type Scope, testScope } from "./scope.ts";

/** A new empty directory. Nothing may be mounted below it when the scope ends: the removal stays on its filesystem. */
export function scratchDirectory(name = "scratch", scope: Scope = testScope): string {
  mkdirSync(RUN_ROOT, { recursive: true });
  const path = mkdtempSync(join(RUN_ROOT, `${name}-`));
  scope(() => rmSync(path, { recursive: true, force: true }));
  return path;
}
