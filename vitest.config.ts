import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { defineConfig } from "vitest/config";

// A test that mounts, boots a guest, takes a loop device or runs a bench runs alone: two at once would share the host's cores
// and its loop devices, and a hang could not be told from slowness. Such a test is known by the helper that it imports.
const tests = readdirSync("test", { recursive: true, encoding: "utf8" })
  .filter((file) => file.endsWith(".test.ts"))
  .map((file) => join("test", file));
const alone = tests.filter((file) =>
  /support\/(daemon|loop)\.ts|\/rig\.ts|test\/(guests|bench|keeper)\//.test(`${file}\n${readFileSync(file, "utf8")}`),
);

// Workers do not see what the main process puts into its environment later.
const run = (process.env["HYPEGEAR_TEST_RUN"] ??= String(process.pid));

export default defineConfig({
  test: {
    pool: "forks",
    env: { HYPEGEAR_TEST_RUN: run },
    globalSetup: "test/support/global.ts",
    reporters: ["default", "./test/support/reporter.ts"],
    teardownTimeout: 60_000,
    projects: [
      {
        extends: true,
        test: {
          name: "unit",
          include: ["test/**/*.test.ts"],
          exclude: alone,
          maxWorkers: 2,
          testTimeout: 60_000,
          hookTimeout: 60_000,
          sequence: { groupOrder: 0 },
        },
      },
      {
        extends: true,
        test: {
          name: "mount",
          include: alone.length > 0 ? alone : ["none"],
          maxWorkers: 1,
          fileParallelism: false,
          testTimeout: 300_000,
          hookTimeout: 120_000,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
});
