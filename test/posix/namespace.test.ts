/** Names under kill: processes that make, link, rename and remove, and an engine that is killed again and again. */
import { existsSync, lstatSync, mkdirSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { type Outcome, run } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { compile } from "./compile.ts";
import { Seeded } from "./random.ts";

/** Longer by hand: HYPEGEAR_NAMESPACE_SECONDS=300 HYPEGEAR_NAMESPACE_SEED=7 npm test -- test/posix/namespace.test.ts */
const SECONDS = Number(process.env["HYPEGEAR_NAMESPACE_SECONDS"] ?? 15);
/** The engine serves up to so long, milliseconds, and then is killed. */
const KILL_MS = 600;
const SEED = Number(process.env["HYPEGEAR_NAMESPACE_SEED"] ?? 1);
const PROCESSES = 4;

test("names come and go as told while the engine is killed again and again, and nothing is left held", {
  timeout: SECONDS * 1000 + 120_000,
}, async (context) => {
  need(context, "root", "/dev/fuse", "gcc");
  const program = await compile(testScope, "namespace.c");
  const daemon = await mountHypegear();
  for (let i = 0; i < 4; i++) mkdirSync(join(daemon.mountpoint, `d${i}`));

  const workers = Array.from({ length: PROCESSES }, (_, i) =>
    run(program, [daemon.mountpoint, "abcd"[i]!, String(SECONDS), String(SEED + i)], {
      timeout: SECONDS * 1000 + 60_000,
    }),
  );
  const [outcomes, kills] = await untilAll(daemon, workers);

  for (const { code, stderr } of outcomes) expect(code, `${stderr}${daemon.log.slice(-2000)}`).toBe(0);
  console.log(`${outcomes.map(({ stderr }) => stderr.trim()).join(" + ")} operations, ${kills} kills`);
  const wanted = outcomes.flatMap(({ stdout }) => stdout.trim().split("\n")).sort();
  expect(tree(daemon.mountpoint)).toEqual(wanted);
  expect(await daemon.umount()).toMatchObject({ code: 0 });
  expect(tree(daemon.backing)).toEqual(wanted);
  const held = join(daemon.backing, ".hypegear", "held");
  expect(existsSync(held) ? readdirSync(held) : []).toEqual([]);
});

/** Kills the engine until all workers have ended. */
async function untilAll(daemon: Daemon, workers: Promise<Outcome>[]): Promise<[Outcome[], number]> {
  const state = { ended: false, kills: 0 };
  const random = new Seeded(SEED);
  const all = Promise.all(workers).finally(() => (state.ended = true));
  for (;;) {
    expect(daemon.stats().engine.pid).toBeGreaterThan(0); // it serves: the keeper does not lose patience
    await Promise.race([all, sleep(random.below(KILL_MS))]);
    if (state.ended) return [await all, state.kills];
    await daemon.kill("engine");
    state.kills++;
  }
}

/** As namespace.c tells it. */
function tree(directory: string): string[] {
  return readdirSync(directory, { recursive: true, encoding: "utf8" })
    .filter((name) => /^d\d\//.test(name))
    .map((name) => describeName(directory, name))
    .sort();
}

function describeName(directory: string, name: string): string {
  const path = join(directory, name);
  const stat = lstatSync(path);
  if (stat.isDirectory()) return `${name} directory 0 0`;
  if (stat.isSymbolicLink()) return `${name} link 0 0`;
  return `${name} file ${stat.nlink} ${readFileSync(path).readUInt32LE(0)}`;
}
