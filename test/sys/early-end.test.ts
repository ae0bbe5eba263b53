import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";

const program = fileURLToPath(new URL("../../dist/test/sys/early-end.js", import.meta.url));

describe("a process may end while its I/O threads start", () => {
  test.each(["shutdown", "exit"])("by %s", (how) => {
    for (const milliseconds of ["0", "10", "20"]) {
      const ended = spawnSync(process.execPath, [program, how, milliseconds], { encoding: "utf8" });
      expect(ended.stderr).toBe("");
      expect(ended.status).toBe(0);
    }
  });
});
