/** The demo as a user sees it: from the command line to its last line, and what it leaves. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdirSync } from "node:fs";
import { expect, type TestContext, test } from "vitest";
import { HYPEGEAR, hypegear } from "../support/daemon.ts";
import { MARK } from "../support/marks.ts";
import { mounts } from "../support/mounts.ts";
import { kill, processes } from "../support/processes.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { needGuests } from "./need-guests.ts";

const TIMEOUT_MS = 240_000;

/** A demo's own temporary directory; it ends up in the environment of all that the demo starts. */
function temporary(context: TestContext): string {
  needGuests(context, "root");
  return scratchDirectory("tmp");
}

/** Nothing is left: no file, no mount, no process. A daemon may still be ending when the demo has. */
async function expectNothingLeft(folder: string): Promise<void> {
  const left = () => processes().filter(({ environment }) => environment.includes(`TMPDIR=${folder}`));
  await waitFor("the end of everything that the demo started", () => left().length === 0);
  expect(mounts().filter(({ mountpoint }) => mountpoint.startsWith(folder))).toEqual([]);
  expect(readdirSync(folder)).toEqual([]);
}

test("the demo shows a guest from mkfs to its proven checksums, and leaves nothing", {
  timeout: TIMEOUT_MS,
}, async (context) => {
  const folder = temporary(context);
  const { code, stdout, stderr } = await hypegear(["demo"], { timeout: TIMEOUT_MS, env: { TMPDIR: folder } });
  expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
  expect(stdout).toMatch(
    /guest: unmounted; its own e2fsck finds the filesystem clean[^]*the checksums of all 14 files/,
  );
  await expectNothingLeft(folder);
});

test("a demo that is interrupted while its guest runs leaves nothing", { timeout: TIMEOUT_MS }, async (context) => {
  const folder = temporary(context);
  const env = { ...process.env, ...MARK, TMPDIR: folder };
  const demo = spawn(HYPEGEAR, ["demo"], { stdio: ["ignore", "pipe", "pipe"], env });
  const said = { out: "", err: "" };
  demo.stdout.setEncoding("utf8").on("data", (text: string) => (said.out += text));
  demo.stderr.setEncoding("utf8").on("data", (text: string) => (said.err += text));
  const ended = once(demo, "exit") as Promise<[number]>;
  await waitFor("the guest", () => said.out.includes("guest: made") || demo.exitCode !== null, TIMEOUT_MS);

  kill(demo.pid!, "SIGINT");

  const [code] = await ended;
  expect({ code, said: said.err }).toEqual({ code: 1, said: "hypegear: demo: interrupted\n" });
  await expectNothingLeft(folder);
});

test("without a guest kernel the demo says what to do, in one line", async (context) => {
  const folder = temporary(context);
  const { code, stderr } = await hypegear(["demo"], { env: { TMPDIR: folder, HYPEGEAR_KERNEL_DIR: folder } });
  expect(code).toBe(1);
  expect(stderr).toMatch(/^hypegear: demo: no guest kernel in \S+: run bin\/setup.*\n$/);
  await expectNothingLeft(folder);
});
