/**
 * What a journal's live commits come to, image by image: which blocks home must get, and from where in the journal, after
 * all that later commits replace or void is left out. In a commit, revokes come first, then its blocks, then what changes shape.
 *
 * Shape changes go home before blocks do. That is right because whatever came to an image after one of them, and to home, lies
 * in the journal behind it, until a commit says that home has the change on stable media (`exact`).
 */
import { BLOCK_BYTES } from "../base/units.ts";
import type { Facts, Identity, Range } from "./contract.ts";
import type { Commit } from "./scan.ts";

/** Some bytes of a block: those that `sectors`, or `low` and `high`, say (as in `cache/frames.ts`). */
export interface Piece {
  /** Byte in the journal file where the block lies; -1: zeros. */
  readonly at: number;
  readonly low: number;
  readonly high: number;
  readonly sectors: number;
}

export interface Action {
  readonly kind: "truncate" | "zero";
  readonly offset: number;
  readonly length: number;
}

export interface PlannedImage {
  readonly identity: Identity;
  /** As the last commit has them. */
  facts: Facts;
  /** It is at least this long. */
  size: number;
  /** It was about to be removed: it may be missing. */
  isGone: boolean;
  /** It was made just before the last commit that names it: it may be missing too. */
  isFresh: boolean;
  /** It is no longer than `size`: what home has beyond, and in this range, is of no commit. */
  exact: Range | undefined;
  /** The filesystem itself may have set its mtime when it came up. */
  isReshaped: boolean;
  actions: Action[];
  /** Pieces of each block, later ones over earlier ones. */
  readonly blocks: Map<number, Piece[]>;
}

const isWhole = ({ low, high, sectors }: Piece): boolean => sectors === 0 && low === 0 && high === BLOCK_BYTES;

/** The plan of all `commits`, by `inode@birth`. */
export function planOf(commits: readonly Commit[]): Map<string, PlannedImage> {
  const plan = new Map<string, PlannedImage>();
  const cancelled = cancelledIn(commits);
  for (const { descriptor, payloadAt } of commits) {
    const images = descriptor.images.map(({ identity, facts }) => imageIn(plan, identity, facts));
    for (const image of images) image.isFresh = false;
    const exact = new Map<PlannedImage, Range>();
    for (const { kind, image, offset, length } of descriptor.operations()) {
      if (kind === "fresh") images[image]!.isFresh = true;
      else if (kind === "exact") exact.set(images[image]!, { offset, length });
      else if (kind === "revoke") revoke(images[image]!, offset, length);
      else if (kind === "gone")
        images[image]!.isGone = true; // if the cut has brought it back, it is to have what was flushed
      else if (kind === "reshape" || kind === "truncate") images[image]!.isReshaped = true;
    }
    descriptor.images.forEach(({ facts }, i) => {
      const image = images[i]!;
      const isExact = exact.has(image);
      image.size = isExact ? facts.size : Math.max(image.size, facts.size);
      if (isExact) image.actions = [];
      if (image.isGone) return; // what was said last while it had a name
      image.facts = facts;
      image.exact = exact.get(image);
    });
    for (let i = 0; i < descriptor.records; i++) {
      const { image, block, low, high, sectors, isAnew } = descriptor.record(i);
      if (isAnew) images[image]!.blocks.delete(block);
      put(images[image]!, block, { at: payloadAt + i * BLOCK_BYTES, low, high, sectors });
    }
    for (const { kind, image, offset, length } of descriptor.operations()) {
      if (cancelled.has(changeOf(descriptor.header.sequence, images[image]!.identity))) continue;
      if (kind === "truncate") truncate(images[image]!, offset);
      else if (kind === "zero") zero(images[image]!, offset, length);
      // Where files have no time of birth, the next commit may be of another file.
      else if (kind === "gone" && images[image]!.identity.birth === 0) plan.delete(keyOf(images[image]!.identity));
    }
  }
  return plan;
}

/** By which images are told apart. */
export const keyOf = ({ inode, birth }: Identity): string => `${inode}@${birth}`;

/** What commit `sequence` does to the shape of an image. */
export const changeOf = (sequence: number, identity: Identity): string => `${sequence} ${keyOf(identity)}`;

/** Changes of shape of which a later commit says that they did not take place (`changeOf`). */
export function cancelledIn(commits: readonly Commit[]): Set<string> {
  const cancelled = new Set<string>();
  for (const { descriptor } of commits) {
    for (const { kind, image, offset } of descriptor.operations())
      if (kind === "cancel") cancelled.add(changeOf(offset, descriptor.images[image]!.identity));
  }
  return cancelled;
}

function imageIn(plan: Map<string, PlannedImage>, identity: Identity, facts: Facts): PlannedImage {
  const key = keyOf(identity);
  let image = plan.get(key);
  if (image === undefined) {
    image = {
      identity,
      facts,
      size: 0,
      isGone: false,
      isFresh: false,
      exact: undefined,
      isReshaped: false,
      actions: [],
      blocks: new Map(),
    };
    plan.set(key, image);
  }
  return image;
}

function put({ blocks }: PlannedImage, block: number, piece: Piece): void {
  const known = blocks.get(block);
  if (known === undefined || isWhole(piece)) blocks.set(block, [piece]);
  else known.push(piece);
}

function revoke(image: PlannedImage, offset: number, length: number): void {
  if (length === Number.POSITIVE_INFINITY) {
    dropFrom(image, Math.ceil(offset / BLOCK_BYTES));
    image.size = Math.min(image.size, offset);
  } else {
    dropWithin(image, offset, offset + length);
  }
}

function truncate(image: PlannedImage, size: number): void {
  dropFrom(image, Math.ceil(size / BLOCK_BYTES));
  zeroWithin(image, size, Math.ceil(size / BLOCK_BYTES) * BLOCK_BYTES);
  image.size = size;
  image.actions.push({ kind: "truncate", offset: size, length: 0 });
}

function zero(image: PlannedImage, offset: number, length: number): void {
  const end = offset + length;
  const first = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES;
  const last = Math.floor(end / BLOCK_BYTES) * BLOCK_BYTES;
  if (first > last) {
    zeroWithin(image, offset, end);
  } else {
    dropWithin(image, first, last);
    zeroWithin(image, offset, first);
    zeroWithin(image, last, end);
  }
  image.actions.push({ kind: "zero", offset, length });
}

function dropFrom({ blocks }: PlannedImage, first: number): void {
  for (const block of Array.from(blocks.keys())) if (block >= first) blocks.delete(block);
}

/** Drops the blocks that lie whole in [from, to). */
function dropWithin({ blocks }: PlannedImage, from: number, to: number): void {
  const first = Math.ceil(from / BLOCK_BYTES);
  const last = Math.floor(to / BLOCK_BYTES);
  if (last - first <= blocks.size) for (let block = first; block < last; block++) blocks.delete(block);
  else for (const block of Array.from(blocks.keys())) if (block >= first && block < last) blocks.delete(block);
}

/** [from, to) lies in one block: zeros, if the journal has that block; home's own are the action's. */
function zeroWithin({ blocks }: PlannedImage, from: number, to: number): void {
  if (from >= to) return;
  const block = Math.floor(from / BLOCK_BYTES);
  const base = block * BLOCK_BYTES;
  blocks.get(block)?.push({ at: -1, low: from - base, high: to - base, sectors: 0 });
}
