import { describe, expect, test } from "vitest";
import { E } from "../../src/base/errno.ts";
import { ExitCode, type Failure } from "../../src/base/errors.ts";
import { BLOCK_BYTES } from "../../src/base/units.ts";
import { type Replayed, type ReplayFile, replay } from "../../src/journal/replay.ts";
import { scan } from "../../src/journal/scan.ts";
import { readSuperblocks } from "../../src/journal/superblock.ts";
import { type MadeCommit, MadeJournal } from "./made.ts";

/** What a made commit's engine may have written until then, ms: its time, and as long as it may have lived on. */
const ALIVE_MS = 6000;
const B = BLOCK_BYTES;

/** A journal that recovery may empty, and the file that it is about. What happens to either is noted. */
class Scene extends MadeJournal {
  readonly log: string[] = [];
  readonly home: Buffer;
  homeSize: number;
  modifiedMs = 0;
  /** Of home writes: the error that they meet. */
  writeError = 0;

  constructor(homeBytes: number, ...commits: MadeCommit[]) {
    super();
    this.home = Buffer.alloc(8 * B, 0xee);
    this.homeSize = homeBytes;
    for (const commit of commits) this.commit(commit);
  }

  write(offset: number, bytes: Uint8Array): number {
    this.bytes.set(bytes, offset);
    const isEmptying = readSuperblocks(this).superblock!.tailSequence > 1;
    this.log.push(isEmptying ? "empty" : "lease");
    return bytes.length;
  }

  flush = (): number => 0;

  recover(force = false): Replayed {
    const target = { open: () => this.file(), nowMs: () => 0 };
    const options = { backing: "/srv/images", journal: "/srv/journal", force, progress: () => undefined };
    return replay(this, this.superblock, target, options);
  }

  /** Commits that recovery would still find. */
  get live(): number {
    return scan(this, readSuperblocks(this).superblock!).commits.length;
  }

  private file(): ReplayFile {
    return {
      size: this.homeSize,
      modifiedMs: this.modifiedMs,
      write: (offset, bytes) => {
        if (this.writeError !== 0) return this.writeError;
        this.home.set(bytes, offset);
        return bytes.length;
      },
      truncate: (size) => {
        this.homeSize = size;
        return 0;
      },
      zero: (offset, length) => {
        this.home.fill(0, offset, offset + length);
        return 0;
      },
      wipe: (offset, length) => {
        this.home.fill(0, offset, offset + length);
        return 0;
      },
      setModificationTime: () => 0,
      flush: () => {
        this.log.push("flush");
        return 0;
      },
      close: () => undefined,
    };
  }
}

const DATA: MadeCommit = { records: [{ block: 1, fill: 7 }], size: 2 * B };

test("recovery brings home what is live, flushes it, and only then empties the journal", () => {
  const scene = new Scene(2 * B, DATA);
  expect(scene.recover()).toMatchObject({ commits: 1, images: 1, blocks: 1, notices: [] });
  expect([scene.home[B], scene.home[2 * B - 1], scene.home[0]]).toEqual([7, 7, 0xee]);
  expect(scene.log).toEqual(["lease", "flush", "empty", "empty"]);
  expect(scene.live).toBe(0);
});

test("what home has beyond the end of an exact image is cut off, and beyond that of another one stays", () => {
  const exact: MadeCommit = { ...DATA, operations: [{ kind: "exact", offset: 0 }] };
  const scene = new Scene(5 * B, exact);
  scene.recover();
  expect([scene.homeSize, scene.home[B]]).toEqual([2 * B, 7]);
  const other = new Scene(5 * B, exact, DATA);
  other.recover();
  expect(other.homeSize).toBe(5 * B);
});

test("what home has in the hole of an exact image is emptied, but for what the journal has of it", () => {
  const exact: MadeCommit = { ...DATA, operations: [{ kind: "exact", offset: B, length: 2 * B }], size: 5 * B };
  const scene = new Scene(5 * B, exact);
  scene.recover();
  expect([0, 1, 2, 3].map((block) => scene.home[block * B])).toEqual([0xee, 7, 0, 0xee]);
  const other = new Scene(5 * B, exact, DATA);
  other.recover();
  expect(other.home[2 * B]).toBe(0xee);
});

test("a file that was cut, and then removed, is cut if a power cut has brought it back", () => {
  const cut: MadeCommit = { operations: [{ kind: "truncate", offset: B }], size: B };
  const scene = new Scene(2 * B, DATA, cut, { operations: [{ kind: "gone", offset: 0 }] });
  scene.recover();
  expect(scene.homeSize).toBe(B);
});

test("a home write that fails leaves the journal as it is, and says what to do", () => {
  const scene = new Scene(2 * B, DATA);
  scene.writeError = -E.EIO;
  expect(() => scene.recover()).toThrow(/image7: write: EIO; the journal keeps all of it/);
  expect(scene.live).toBe(1);
  scene.writeError = 0;
  expect(scene.recover().blocks).toBe(1);
});

describe("an image that was modified after the host went down", () => {
  const refusal = expect.objectContaining({ exitCode: ExitCode.refused }) as Failure;
  const late = (homeBytes: number, ...commits: MadeCommit[]): Scene =>
    Object.assign(new Scene(homeBytes, ...commits), { modifiedMs: ALIVE_MS + 1 });

  test("is somebody else's: nothing is written, unless it is forced", () => {
    const scene = late(2 * B, DATA);
    expect(() => scene.recover()).toThrow(refusal);
    expect(scene.log).toEqual([]);
    expect(scene.live).toBe(1);
    expect(scene.recover(true).notices).toEqual([expect.stringContaining("changed beneath it") as string]);
    expect(scene.home[B]).toBe(7);
  });

  test("just in time is not", () => {
    const scene = late(2 * B, DATA);
    scene.modifiedMs = ALIVE_MS;
    expect(scene.recover().notices).toEqual([]);
  });

  test("is so too if it is shorter than its last commit says", () => {
    expect(() => late(B, DATA).recover()).toThrow(refusal);
  });

  test("and was being cut was cut by its filesystem", () => {
    const scene = late(2 * B, DATA, { operations: [{ kind: "reshape", offset: B }], size: 2 * B });
    expect(scene.recover().notices).toEqual([]);
  });
});
