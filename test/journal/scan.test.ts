import { describe, expect, test } from "vitest";
import { BLOCK_BYTES } from "../../src/base/units.ts";
import { ringOffset } from "../../src/journal/layout.ts";
import { scan, VERDICTS } from "../../src/journal/scan.ts";
import { Random } from "../sim/random.ts";
import { MadeJournal, RING_BLOCKS } from "./made.ts";

/** Three transactions of one commit each. */
function three(): MadeJournal {
  const journal = new MadeJournal();
  for (let n = 0; n < 3; n++) journal.commit({ records: [{ block: n, fill: n + 1 }], size: 3 * BLOCK_BYTES });
  return journal;
}

const PAYLOAD = BLOCK_BYTES + 100;

describe("a scan's verdict", () => {
  /** Each row of the table, by what is done to the second of three commits, and then to the last. */
  const rows: [keyof typeof VERDICTS, "some" | "none", (journal: MadeJournal, index: number) => void][] = [
    ["nothing", "some", (journal, index) => journal.flip(index, 0)],
    ["nothing", "none", (journal, index) => journal.flip(index, 0)],
    ["torn", "some", (journal, index) => journal.flip(index, PAYLOAD)],
    ["torn", "none", (journal, index) => journal.flip(index, PAYLOAD)],
    ["torn", "some", (journal, index) => journal.flip(index, 200)],
    ["unreadable", "some", (journal, index) => journal.unreadable.add(ringOffset(journal.positions[index]!))],
    ["unreadable", "none", (journal, index) => journal.unreadable.add(ringOffset(journal.positions[index]!) + PAYLOAD)],
  ];

  test.for(rows)("of %s with %s behind it is as the table says", ([find, behind, harm]) => {
    const journal = three();
    const index = behind === "some" ? 1 : 2;
    harm(journal, index);
    const { verdict, commits, sequence } = scan(journal, journal.superblock);
    expect(verdict).toBe(VERDICTS[find][behind]);
    expect(commits).toHaveLength(index);
    expect(sequence).toBe(index + 1);
  });

  test("of a whole log is its end, and all is there", () => {
    const journal = three();
    expect(scan(journal, journal.superblock)).toMatchObject({ verdict: "end", sequence: 4, position: 6 });
  });

  test("of a gap before what a superblock knows as durable is rot, though nothing is behind it", () => {
    const journal = three();
    journal.superblock.durable = 4;
    journal.flip(2, PAYLOAD);
    expect(scan(journal, journal.superblock).verdict).toBe("rot");
  });

  test("names the images of which commits behind a gap are lost", () => {
    const journal = new MadeJournal();
    for (const inode of ["1", "2", "3"]) journal.commit({ inode, records: [{ block: 0, fill: 1 }] });
    journal.flip(0, 0);
    expect([...scan(journal, journal.superblock).lost]).toEqual(["image2", "image3"]);
  });
});

describe("a scan takes no commit for the next one", () => {
  test("that is of an older turn, though its checksum is right", () => {
    const journal = new MadeJournal({ tailSequence: 5 });
    journal.commit({ records: [{ block: 0, fill: 1 }] });
    journal.superblock.tailSequence = 9;
    expect(scan(journal, journal.superblock)).toMatchObject({ verdict: "end", commits: [] });
  });

  test("that was written elsewhere", () => {
    const journal = three();
    journal.bytes.copy(journal.bytes, ringOffset(0), ringOffset(2), ringOffset(4));
    expect(scan(journal, journal.superblock)).toMatchObject({ verdict: "rot", commits: [] });
  });

  test("of another journal", () => {
    const journal = three();
    expect(scan(journal, { ...journal.superblock, id: "f".repeat(32) })).toMatchObject({ verdict: "end", commits: [] });
  });

  test("that an engine began and did not end, when its successor's is shorter", () => {
    const journal = new MadeJournal();
    journal.commit({ records: [{ block: 0, fill: 1 }], isLast: false });
    journal.commit({ records: [{ block: 1, fill: 1 }], isLast: false });
    const left = Buffer.from(journal.bytes);
    const next = new MadeJournal({ epoch: 2 });
    next.commit({ records: [{ block: 9, fill: 9 }], epoch: 2 });
    left.copy(next.bytes, ringOffset(2), ringOffset(2));
    expect(scan(next, next.superblock)).toMatchObject({ verdict: "end", sequence: 2 });
  });
});

test("a transaction without its last commit does not count", () => {
  const journal = three();
  journal.commit({ records: [{ block: 9, fill: 9 }], isLast: false });
  expect(scan(journal, journal.superblock)).toMatchObject({ verdict: "end", sequence: 4, position: 6 });
});

test("a commit that does not fit before the ring's end is found at its beginning", () => {
  const journal = new MadeJournal({ tailPosition: RING_BLOCKS - 3 });
  journal.commit({ records: [{ block: 0, fill: 1 }] });
  journal.commit({ records: [{ block: 1, fill: 2 }] });
  expect(journal.positions).toEqual([RING_BLOCKS - 3, 0]);
  expect(scan(journal, journal.superblock)).toMatchObject({ verdict: "end", sequence: 3, position: 2 });
});

test("the successor of a killed engine goes by what was acknowledged, and reads no blocks", () => {
  const journal = three();
  journal.flip(1, PAYLOAD);
  expect(scan(journal, journal.superblock, 2)).toMatchObject({ verdict: "end", sequence: 3 });
});

test("no flipped bit anywhere in a log makes a scan crash, or yield a commit that was not written so (faults 28, 33)", () => {
  const random = new Random(1);
  const whole = three();
  const good = scan(whole, whole.superblock).commits.map(({ descriptor }) => descriptor.checksum);
  for (let round = 0; round < 3000; round++) {
    const journal = three();
    for (let flips = random.magnitude(8); flips > 0; flips--)
      journal.bytes[ringOffset(0) + random.below(7 * BLOCK_BYTES)]! ^= 1 << random.below(8);
    const { commits } = scan(journal, journal.superblock);
    expect(commits.map(({ descriptor }) => descriptor.checksum)).toEqual(good.slice(0, commits.length));
  }
});

test("bytes of chance make no commit, and no large allocation (fault 33)", () => {
  const random = new Random(2);
  for (let round = 0; round < 200; round++) {
    const journal = new MadeJournal();
    for (let at = ringOffset(0); at < journal.bytes.length; at += 4) journal.bytes.writeUInt32LE(random.word(), at);
    for (let block = 0; block < RING_BLOCKS; block++) journal.bytes.write("HYPECMIT", ringOffset(block), "latin1");
    expect(scan(journal, journal.superblock).commits).toEqual([]);
  }
});
