import { crc32 } from "node:zlib";
import { expect, test } from "vitest";
import { SUPERBLOCK_BYTES } from "../../src/journal/layout.ts";
import { type JournalState, readSuperblocks } from "../../src/journal/superblock.ts";
import { MadeJournal } from "./made.ts";

/** Two good superblocks, generations 1 and 2. */
function made(): MadeJournal {
  const journal = new MadeJournal();
  journal.superblock.generation = 2;
  journal.superblock.tailSequence = 9;
  journal.writeSuperblock();
  return journal;
}

const slot = (journal: MadeJournal, n: number): Buffer =>
  journal.bytes.subarray(n * SUPERBLOCK_BYTES, (n + 1) * SUPERBLOCK_BYTES);

/** Gives a slot another version, under a right checksum. */
function newer(bytes: Buffer): void {
  bytes.writeUInt32LE(99, 12);
  bytes.writeUInt32LE(crc32(bytes.subarray(12)), 8);
}

test("of two good superblocks the newer counts", () => {
  expect(readSuperblocks(made())).toMatchObject({ state: "good", superblock: { generation: 2, tailSequence: 9 } });
});

test.for([0, 1])("with slot %i destroyed the other leads on (fault 34)", (destroyed) => {
  for (const harm of [(bytes: Buffer) => bytes.fill(0), (bytes: Buffer) => bytes.fill(0xa5)]) {
    const journal = made();
    harm(slot(journal, destroyed));
    expect(readSuperblocks(journal)).toMatchObject({
      state: "good",
      superblock: { generation: destroyed === 0 ? 1 : 2 },
    });
  }
});

test("any flipped bit of a superblock is seen (fault 28)", () => {
  const journal = made();
  for (let byte = 0; byte < 1200; byte++) {
    slot(journal, 0)[byte]! ^= 4;
    expect(readSuperblocks(journal).superblock?.generation).toBe(1);
    slot(journal, 0)[byte]! ^= 4;
  }
});

const states: [JournalState, (journal: MadeJournal) => void][] = [
  ["blank", (journal) => journal.bytes.fill(0)],
  ["alien", (journal) => journal.bytes.fill("QFI", 0, 2 * SUPERBLOCK_BYTES)],
  ["damaged", (journal) => [0, 1].forEach((n) => (slot(journal, n)[40]! ^= 1))],
  ["newer", (journal) => newer(slot(journal, 0))],
  ["unreadable", (journal) => [0, SUPERBLOCK_BYTES].forEach((at) => journal.unreadable.add(at))],
];

test.for(states)("a journal is told as %s", ([state, harm]) => {
  const journal = made();
  harm(journal);
  expect(readSuperblocks(journal)).toEqual({ state, superblock: undefined });
});

test("a journal that has lost its end is told as resized", () => {
  const journal = made();
  const size = journal.size - 4096;
  expect(readSuperblocks({ size, read: (at, into) => journal.read(at, into) }).state).toBe("resized");
});
