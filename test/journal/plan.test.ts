import { expect, test } from "vitest";
import { BLOCK_BYTES } from "../../src/base/units.ts";
import { type PlannedImage, planOf } from "../../src/journal/plan.ts";
import { scan } from "../../src/journal/scan.ts";
import { type MadeCommit, MadeJournal } from "./made.ts";

const B = BLOCK_BYTES;

/** The plan of a journal of these commits, and the first byte that each piece of a block has. */
function plan(...commits: MadeCommit[]): { image: PlannedImage; fills: Record<number, number[]> } {
  const journal = new MadeJournal();
  for (const commit of commits) journal.commit(commit);
  const [image] = [...planOf(scan(journal, journal.superblock).commits).values()] as [PlannedImage];
  const fills = [...image.blocks].map(([block, pieces]) => [
    block,
    pieces.map(({ at }) => (at < 0 ? 0 : journal.bytes[at]!)),
  ]);
  return { image, fills: Object.fromEntries(fills) as Record<number, number[]> };
}

test("the last record of a block counts, and pieces lie over one another", () => {
  const { fills } = plan(
    {
      records: [
        { block: 1, fill: 1 },
        { block: 2, fill: 2 },
      ],
    },
    {
      records: [
        { block: 1, fill: 3 },
        { block: 2, fill: 4, low: 100, high: 200 },
      ],
    },
  );
  expect(fills).toEqual({ 1: [3], 2: [2, 4] });
});

test("a record that says so voids what came before it of its block", () => {
  const { fills } = plan(
    { records: [{ block: 1, fill: 1 }] },
    { records: [{ block: 1, fill: 2, low: 0, high: 512, isAnew: true }] },
  );
  expect(fills).toEqual({ 1: [2] });
});

test("a revoke voids whole blocks of earlier commits, not of its own", () => {
  const { fills } = plan(
    {
      records: [
        { block: 1, fill: 1 },
        { block: 2, fill: 1 },
        { block: 3, fill: 1 },
      ],
    },
    { operations: [{ kind: "revoke", offset: B, length: 2 * B }], records: [{ block: 2, fill: 5 }] },
  );
  expect(fills).toEqual({ 2: [5], 3: [1] });
});

test("a revoke without an end voids sizes too", () => {
  const { image, fills } = plan(
    {
      records: [
        { block: 1, fill: 1 },
        { block: 9, fill: 1 },
      ],
      size: 10 * B,
    },
    { operations: [{ kind: "revoke", offset: 2 * B, length: Number.POSITIVE_INFINITY }], size: 3 * B },
  );
  expect(fills).toEqual({ 1: [1] });
  expect(image.size).toBe(3 * B);
});

test("a truncate takes effect after the blocks of its commit, and zeroes the rest of its last block", () => {
  const { image, fills } = plan({
    records: [
      { block: 0, fill: 1 },
      { block: 1, fill: 1 },
      { block: 2, fill: 1 },
    ],
    operations: [{ kind: "truncate", offset: B + 100 }],
    size: 3 * B,
  });
  expect(fills).toEqual({ 0: [1], 1: [1, 0] });
  expect(image).toMatchObject({ size: B + 100, actions: [{ kind: "truncate", offset: B + 100 }] });
});

test("what a truncate took away comes back when the image grows only as what was written then", () => {
  const { image, fills } = plan(
    { records: [{ block: 5, fill: 1 }], size: 6 * B, operations: [{ kind: "truncate", offset: 0 }] },
    { records: [{ block: 7, fill: 2 }], size: 8 * B },
  );
  expect(fills).toEqual({ 7: [2] });
  expect(image.size).toBe(8 * B);
});

test("a zeroed range takes whole blocks away, and lies over the ends of others", () => {
  const { image, fills } = plan({
    records: [0, 1, 2].map((block) => ({ block, fill: 1 })),
    operations: [{ kind: "zero", offset: 100, length: 2 * B }],
  });
  expect(fills).toEqual({ 0: [1, 0], 2: [1, 0] });
  expect(image.actions).toEqual([{ kind: "zero", offset: 100, length: 2 * B }]);
});

test("what was cancelled did not take place", () => {
  const { image, fills } = plan(
    { records: [{ block: 0, fill: 1 }], operations: [{ kind: "truncate", offset: 0 }], size: B },
    { operations: [{ kind: "cancel", offset: 1 }], size: B },
  );
  expect(fills).toEqual({ 0: [1] });
  expect(image).toMatchObject({ size: B, actions: [] });
});

test("a file that was about to go may be missing; if it is not, it gets what was flushed", () => {
  const { image, fills } = plan(
    { records: [{ block: 0, fill: 1 }], size: B },
    { operations: [{ kind: "gone", offset: 0 }] },
  );
  expect(fills).toEqual({ 0: [1] });
  expect(image).toMatchObject({ isGone: true, size: B, facts: { size: B } });
});

test("where files have no time of birth, of one that was about to go nothing is kept: the next may have its inode", () => {
  const { image, fills } = plan(
    { records: [{ block: 0, fill: 1 }], size: B, birth: 0 },
    { operations: [{ kind: "gone", offset: 0 }], birth: 0 },
    { records: [{ block: 1, fill: 2 }], size: 2 * B, birth: 0 },
  );
  expect(fills).toEqual({ 1: [2] });
  expect(image).toMatchObject({ isGone: false, facts: { size: 2 * B } });
});

test("a file is fresh as long as each commit says so", () => {
  const fresh = { operations: [{ kind: "fresh", offset: 0 }] } as const;
  expect(plan(fresh).image.isFresh).toBe(true);
  expect(plan(fresh, { records: [{ block: 0, fill: 1 }] }).image.isFresh).toBe(false);
});

test("an image is as long as the last commit says that calls it exact, also one that was removed since", () => {
  const exact = (size: number): MadeCommit => ({ operations: [{ kind: "exact", offset: 0 }], size });
  expect(plan({ size: 5 * B }, exact(2 * B)).image).toMatchObject({ size: 2 * B, exact: {} });
  expect(plan(exact(2 * B), { size: 3 * B }).image).toMatchObject({ size: 3 * B, exact: undefined });
  const gone = { operations: [{ kind: "gone", offset: 0 }] } as const;
  expect(plan(exact(2 * B), gone).image).toMatchObject({ size: 2 * B, exact: {} });
});

test("an exact image has none of the changes of shape before it, and those behind it", () => {
  const exact: MadeCommit = { operations: [{ kind: "exact", offset: B, length: 3 * B }], size: 4 * B };
  const zero = { operations: [{ kind: "zero", offset: 0, length: B }] } as const;
  const written: MadeCommit = { records: [{ block: 0, fill: 1 }], size: 4 * B };
  const settled = plan(written, zero, exact);
  expect(settled.fills).toEqual({});
  expect(settled.image).toMatchObject({ actions: [], exact: { offset: B, length: 3 * B } });
  expect(plan(zero, exact, { ...zero, size: 4 * B }).image.actions).toHaveLength(1);
});
