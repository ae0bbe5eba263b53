/**
 * Two guests' databases: SQLite on an ext4 of its own on each of two images. Transaction n is committed in the first, and then in the
 * second, and then n + 1 in the first; so of any instant each database shows a prefix of its transactions, and the
 * second is at most one behind. Steps count both: transaction n is step 2n - 1 in the first and 2n in the second.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, openSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { MARK } from "../support/marks.ts";
import { unmountLazily } from "../support/mounts.ts";
import { run, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { AnswerNotes } from "./answers.ts";
import type { Workload } from "./recording.ts";

export const DATABASE_NEEDS = ["sqlite3", "e2fsck", "mkfs.ext4", "losetup"] as const;

const IMAGE_BYTES = 16 * 2 ** 20;
const PAUSE_MS = 5;

/**
 * The images, and how their databases commit: by a log that is synced, and by a rollback journal that is removed. EXTRA syncs the
 * directory too after that; without it SQLite does not promise that the removal outlives a loss of power.
 */
const GUESTS = [
  { image: "first", pragmas: "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=50;" },
  { image: "second", pragmas: "PRAGMA journal_mode=DELETE; PRAGMA synchronous=EXTRA;" },
] as const;

const SCHEMA = `
CREATE TABLE committed(n INTEGER PRIMARY KEY, body TEXT);
CREATE TABLE total(n INTEGER, bytes INTEGER);
INSERT INTO total VALUES(0, 0);`;

/** Of a transaction's row, in SQL: written by it, and compared with after a cut. */
const BODY = (n: string): string => `printf('%.*c', 1 + (${n} * 997) % 6000, char(65 + ${n} % 26))`;

const transaction = (n: number): string => `
BEGIN IMMEDIATE;
INSERT INTO committed VALUES(${n}, ${BODY(String(n))});
UPDATE total SET n = n + 1, bytes = bytes + (SELECT length(body) FROM committed WHERE n = ${n});
COMMIT;
SELECT 'committed ${n}';
`;

/** Makes the images, with a filesystem and an empty database each, in `directory`. `place`: where they are mounted. */
export async function makeDatabases(directory: string, place: string): Promise<void> {
  for (const { image, pragmas } of GUESTS) {
    const path = join(directory, image);
    writeFileSync(path, "");
    truncateSync(path, IMAGE_BYTES);
    await succeed("mkfs.ext4", ["-q", "-b", "4096", "-J", "size=4", path]);
    await onGuest(path, join(place, image), (mounted) =>
      succeed("sqlite3", [join(mounted, "database"), pragmas + SCHEMA]),
    );
  }
}

/** Mounts the image at `path` on `directory`, as its guest would, and calls `use`. */
async function onGuest<T>(path: string, directory: string, use: (directory: string) => Promise<T>): Promise<T> {
  mkdirSync(directory, { recursive: true });
  await succeed("mount", ["-o", "loop", path, directory]);
  try {
    return await use(directory);
  } finally {
    await succeed("umount", [directory]);
  }
}

/** Commits in turns on the images below `root` for `ms` milliseconds, and notes each commit. `place`: where they are mounted. */
export async function startDatabases(
  root: string,
  log: string,
  notes: string,
  place: string,
  ms: number,
): Promise<Workload> {
  const answers = new AnswerNotes(openSync(notes, "a"), openSync(log, "r"));
  const guests: Guest[] = [];
  for (const { image, pragmas } of GUESTS)
    guests.push(await Guest.start(join(root, image), join(place, image), pragmas));
  const watch = answers.watch();
  const commitInTurns = async (): Promise<string> => {
    const end = performance.now() + ms;
    for (let n = 1; performance.now() < end; n++) {
      for (const [i, guest] of guests.entries()) {
        await guest.commit(n);
        answers.answered(2 * n - 1 + i, 2 * n - 1 + i);
      }
      await sleep(PAUSE_MS);
    }
    for (const guest of guests) await guest.stop();
    watch.stop();
    return "";
  };
  const ended = commitInTurns();
  ended.catch(() => {}); // told by whoever waits for it
  return { ended };
}

/** A mounted image and the sqlite3 that has its database open. */
class Guest {
  private readonly directory: string;
  private readonly child: ChildProcess;
  private readonly lines: AsyncIterator<string>;

  private constructor(directory: string, pragmas: string) {
    this.directory = directory;
    this.child = spawn("sqlite3", ["-bail", join(directory, "database")], {
      stdio: ["pipe", "pipe", "inherit"],
      env: { ...process.env, ...MARK },
    });
    this.child.stdin!.on("error", () => {}); // its end shows in what it does not say
    this.lines = createInterface({ input: this.child.stdout! })[Symbol.asyncIterator]();
    this.child.stdin!.write(`${pragmas}\n`);
  }

  static async start(image: string, directory: string, pragmas: string): Promise<Guest> {
    mkdirSync(directory, { recursive: true });
    await succeed("mount", ["-o", "loop", image, directory]);
    testScope(() => unmountLazily(directory));
    const guest = new Guest(directory, pragmas);
    testScope(() => guest.child.kill("SIGKILL"));
    return guest;
  }

  /** Resolves when transaction `n` is committed. */
  async commit(n: number): Promise<void> {
    this.child.stdin!.write(transaction(n));
    for (;;) {
      const { value, done } = await this.lines.next();
      if (done === true) throw new Error(`sqlite3 in ${this.directory} ended before transaction ${n} was committed`);
      if (value === `committed ${n}`) return;
    }
  }

  async stop(): Promise<void> {
    const end = once(this.child, "exit");
    this.child.stdin!.end();
    await end;
    await succeed("umount", [this.directory]);
  }
}

const AFTER = `
PRAGMA integrity_check;
SELECT count(*), ifnull(max(n), 0), ifnull(sum(length(body)), 0), ifnull(sum(body <> ${BODY("n")}), 0) FROM committed;
SELECT n, bytes FROM total;`;

/**
 * What is wrong with the images in `directory` after a cut, and the last step that their databases show (-1: none). The guests start again on
 * them, in `place`, before they are checked.
 */
export async function databasesAfter(directory: string, place: string): Promise<{ step: number; wrong: string[] }> {
  const wrong: string[] = [];
  const counts: number[] = [];
  for (const { image } of GUESTS) {
    const path = join(directory, image);
    // The guest's own journal is replayed by the first mount; SQLite's by the second, after the filesystem was found clean.
    await onGuest(path, join(place, `${image}-after`), async () => {});
    const { code, stdout } = await run("e2fsck", ["-fn", path]);
    if (code !== 0) wrong.push(`${image}: e2fsck: exit code ${code}: ${stdout}`);
    const said = await onGuest(path, join(place, `${image}-after`), (mounted) =>
      run("sqlite3", [join(mounted, "database"), AFTER]),
    );
    const rows = rowsIn(said.stdout);
    if (rows === undefined) wrong.push(`${image}: ${said.stdout}${said.stderr}`);
    else counts.push(rows);
  }
  if (wrong.length > 0) return { step: -1, wrong };
  const [first, second] = counts as [number, number];
  if (second === first || second === first - 1) return { step: first + second, wrong };
  return { step: -1, wrong: [`no common instant: ${first} transactions in the first, ${second} in the second`] };
}

/** The number of transactions in a whole database that has all up to some number and no other; undefined: it is none. */
export function rowsIn(said: string): number | undefined {
  const [integrity, committed, total] = said.trimEnd().split("\n");
  const [count, most, bytes, strange] = (committed ?? "").split("|");
  const isWhole = integrity === "ok" && count === most && strange === "0" && total === `${count}|${bytes}`;
  return isWhole ? Number(count) : undefined;
}
