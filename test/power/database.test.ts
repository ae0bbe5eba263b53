/**
 * Cut power under databases: SQLite commits on ext4 on images on hypegear, whose engine is killed again and again. No kill is seen by
 * a guest. After a cut, recovery and the guests' own replay, the filesystems are clean, the databases whole, and the committed
 * transactions there: in mode sync all of them; in mode ordered all up to one instant for both guests, which the loss window allows.
 *
 *   HYPEGEAR_POWER_CUTS=100 npm test -- test/power/database     so many cuts in each mode on each filesystem
 */
import { join } from "node:path";
import { expect, test } from "vitest";
import { Random } from "../sim/random.ts";
import type { Daemon } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { Answers } from "./answers.ts";
import { DATABASE_NEEDS, databasesAfter, makeDatabases, rowsIn, startDatabases } from "./database.ts";
import { MOUNT_ARGS, record, type Script } from "./recording.ts";
import { recovered } from "./recovery.ts";
import { memoryDirectory, RIG_NEEDS } from "./rig.ts";
import { judgeStates, recordingOf } from "./states.ts";

const CUTS = Number(process.env["HYPEGEAR_POWER_CUTS"] ?? "20");
const KILLS = 20;
const KILL_AFTER_MS = 300;
const RUN_MS = 18_000;
const CUT_MS_MAX = 20_000;
const WINDOW_MS = 500;

/** The last step that a cut must not lose. */
const MODES = {
  sync: { args: ["--durability", "sync"], kept: (answers, flushed) => answers.answeredAt(flushed, () => true) },
  ordered: {
    args: ["--durability", "ordered", "--loss-window", `${WINDOW_MS}ms`],
    kept: (answers, flushed) => answers.keptBy(flushed, WINDOW_MS, () => true),
  },
} as const satisfies Record<string, { args: string[]; kept: (answers: Answers, flushed: number) => number }>;

test.for([
  ["sync", "ext4"],
  ["ordered", "ext4"],
  ["sync", "xfs"],
  ["ordered", "xfs"],
] as const)(
  "%s on %s: after kills and a power cut, guests' databases are whole and have what was committed",
  { timeout: 180_000 + CUTS * CUT_MS_MAX },
  async ([mode, kind], context) => {
    need(context, ...RIG_NEEDS, ...DATABASE_NEEDS);
    const place = await memoryDirectory();
    const recording = await recordingOf(kind, () => record(kind, scriptOf(mode, place), place));
    const answers = Answers.read(recording.notesFile);
    const judging = { place, count: CUTS, file: "database.test.ts", test: `${mode} on ${kind}: after` };
    const wrong = await judgeStates(recording, judging, async (images, { number, flushed }) => {
      const unrecovered = await recovered(images, "once", new Random(number));
      if (unrecovered.length > 0) return unrecovered;
      const after = await databasesAfter(images, join(place, `guests-${number}`));
      const kept = MODES[mode].kept(answers, flushed);
      if (after.wrong.length > 0 || after.step >= kept) return after.wrong;
      return [`step ${after.step} is the last there, ${kept} was promised`];
    });
    expect(wrong).toEqual([]);
    expect(answers.count).toBeGreaterThan(10);
  },
);

function scriptOf(mode: keyof typeof MODES, place: string): Script {
  const guests = join(place, "guests");
  return {
    args: [...MOUNT_ARGS, ...MODES[mode].args],
    prepare: (images) => makeDatabases(images, guests),
    start: ({ mountpoint }: Daemon, log, notes) => startDatabases(mountpoint, log, notes, guests, RUN_MS),
    kills: KILLS,
    killAfterMs: KILL_AFTER_MS,
  };
}

test("a database with a gap, strange bytes or half a transaction is known", () => {
  expect(rowsIn("ok\n7|7|900|0\n7|900\n")).toBe(7);
  expect(rowsIn("ok\n0|0|0|0\n0|0\n")).toBe(0);
  expect(rowsIn("ok\n7|8|900|0\n7|900\n")).toBeUndefined();
  expect(rowsIn("ok\n7|7|900|1\n7|900\n")).toBeUndefined();
  expect(rowsIn("ok\n7|7|900|0\n6|800\n")).toBeUndefined();
  expect(rowsIn("row 3 missing from index\n7|7|900|0\n7|900\n")).toBeUndefined();
  expect(rowsIn("")).toBeUndefined();
});
