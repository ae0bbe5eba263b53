/**
 * What the images must hold. Every change of an image is a `Mutation`: bytes for a range, zeros, or bytes unknown, and
 * perhaps a size. Of two that were under way together either may be the later: then a byte has alternatives, until a read
 * with nothing beside it has shown which it is.
 */
import type { PagedBytes } from "./paged.ts";
import { must } from "./world.ts";

export interface Mutation {
  what: string;
  low: number;
  high: number;
  /** Undefined: zeros. */
  values: Uint8Array | undefined;
  /** The size after it, from the size before. */
  sizeAfter: (size: number, high: number) => number;
  /** Under way together with this one, at any time. */
  beside: Set<Mutation>;
  answered: boolean;
  /** Asked for twice: a killed engine may have carried it out in part. */
  again: boolean;
}

/** Bytes that may stand in [low, high) instead. */
interface Alternative {
  low: number;
  high: number;
  /** From `from` on; undefined: zeros. */
  values: Uint8Array | undefined;
  from: number;
}

/** A range as it was when something began, and what came beside it. */
export interface View {
  low: number;
  high: number;
  content: PagedBytes;
  size: number;
  sizes: Set<number>;
  alternatives: Alternative[];
  beside: Set<Mutation>;
}

const asAlternative = (mutation: Mutation): Alternative => ({
  low: mutation.low,
  high: mutation.high,
  values: mutation.values,
  from: mutation.low,
});

export class ImageOracle {
  readonly content: PagedBytes;
  size: number;
  /** Other sizes that it may have. */
  sizes = new Set<number>();
  readonly open = new Set<Mutation>();
  private alternatives: Alternative[] = [];
  private readonly views = new Set<View>();
  private readonly capacity: number;

  constructor(content: PagedBytes, size: number) {
    this.content = content;
    this.capacity = content.length;
    this.size = size;
  }

  /** A mutation is asked for. */
  begin(
    what: string,
    low: number,
    high: number,
    values: Uint8Array | undefined,
    sizeAfter: Mutation["sizeAfter"],
  ): Mutation {
    const mutation = { what, low, high, values, sizeAfter, beside: new Set(this.open), answered: false, again: false };
    for (const other of this.open) other.beside.add(mutation);
    for (const view of this.views) view.beside.add(mutation);
    this.open.add(mutation);
    return mutation;
  }

  /** It was answered: done to its first `bytes` bytes, or (undefined) refused. */
  end(mutation: Mutation, bytes: number | undefined): void {
    this.open.delete(mutation);
    mutation.answered = true;
    if (bytes === undefined) {
      if (mutation.again) this.doubt(mutation);
      return;
    }
    if (mutation.again && mutation.low + bytes < mutation.high) this.doubtRest({ ...mutation }, mutation);
    mutation.high = Math.min(mutation.high, mutation.low + bytes);
    this.cut(mutation.low, mutation.high);
    for (const other of mutation.beside) if (other.answered) this.alternatives.push(asAlternative(other));
    if (mutation.values === undefined) this.content.zero(mutation.low, mutation.high);
    else this.content.set(mutation.values.subarray(0, mutation.high - mutation.low), mutation.low);
    this.size = mutation.sizeAfter(this.size, mutation.high);
    this.sizes = new Set([...this.sizes].map((size) => mutation.sizeAfter(size, mutation.high)));
  }

  /** The first time of `mutation`, which was asked for twice, may have gone further than the second, which was answered. */
  private doubtRest(rest: Mutation, mutation: Mutation): void {
    this.doubt(rest);
    for (const { beside } of [...this.views, ...mutation.beside]) if (beside.has(mutation)) beside.add(rest);
  }

  private doubt(mutation: Mutation): void {
    this.alternatives.push(asAlternative(mutation));
    for (const size of [this.size, ...this.sizes]) this.sizes.add(mutation.sizeAfter(size, mutation.high));
  }

  private cut(low: number, high: number): void {
    this.alternatives = this.alternatives.flatMap((entry) =>
      entry.high <= low || entry.low >= high
        ? [entry]
        : [
            { ...entry, high: Math.min(entry.high, low) },
            { ...entry, low: Math.max(entry.low, high) },
          ].filter((part) => part.low < part.high),
    );
  }

  /** True if there is but one state that it can be in. */
  get isCertain(): boolean {
    return this.open.size === 0 && this.sizes.size === 0 && this.alternatives.length === 0;
  }

  /** Remembers [low, high) as it is now. Undone by `forget`. */
  look(low: number, high: number): View {
    const view = {
      low,
      high,
      content: this.content.copy(),
      size: this.size,
      sizes: new Set([this.size, ...this.sizes]),
      alternatives: this.alternatives.filter((entry) => entry.low < high && low < entry.high),
      beside: new Set(this.open),
    };
    this.views.add(view);
    return view;
  }

  /** Remembers what `view` does, on its own. Undone by `forget`. */
  lookAgain(view: View): View {
    const again = { ...view, content: view.content.copy(), beside: new Set(view.beside) };
    this.views.add(again);
    return again;
  }

  forget(view: View): void {
    this.views.delete(view);
  }

  /** Checks `bytes`, read from `view.low` on, against the view and what came beside it; settles what was open. */
  checkRead(view: View, bytes: Uint8Array, what: () => string): void {
    const sizes = [...possibleSizes(view)];
    const ends = sizes.map((size) => Math.max(0, Math.min(view.high, size) - view.low));
    must(
      bytes.length >= Math.min(...ends) && bytes.length <= Math.max(...ends),
      () => `${what()}: ${bytes.length} bytes, not ${Math.min(...ends)} to ${Math.max(...ends)}`,
    );
    checkBytes(view, bytes, view.low, what);
    if (view.beside.size > 0 || view.alternatives.length === 0) return;
    this.content.set(bytes, view.low);
    this.cut(view.low, view.low + bytes.length);
  }

  /** Checks a size that was seen just now. */
  checkSize(seen: number, what: () => string): void {
    const sizes = new Set([this.size, ...this.sizes]);
    for (const mutation of this.open)
      for (const size of Array.from(sizes)) sizes.add(mutation.sizeAfter(size, mutation.high));
    must(sizes.has(seen), () => `${what()}: size ${seen}, not ${[...sizes].join(" or ")}`);
    if (this.open.size > 0) return;
    this.size = seen;
    this.sizes.clear();
  }

  /** The whole image as it is now. */
  lookAtAll(): View {
    return this.look(0, this.capacity);
  }
}

/** What the size may be after any of what came beside the view. */
export function possibleSizes(view: View): Set<number> {
  const sizes = new Set([view.size, ...view.sizes]);
  for (const mutation of view.beside)
    for (const size of Array.from(sizes)) sizes.add(mutation.sizeAfter(size, mutation.high));
  return sizes;
}

/** Each of `bytes`, from file offset `at` on, must be the view's, an alternative's, or of something that came beside it. */
export function checkBytes(view: View, bytes: Uint8Array, at: number, what: () => string): void {
  let others: Alternative[] | undefined;
  view.content.forEach(at, at + bytes.length, (promised, from) => {
    const found = bytes.subarray(from - at, from - at + promised.length);
    if (Buffer.compare(found, promised) === 0) return;
    others ??= [...view.alternatives, ...[...view.beside].map(asAlternative)];
    checkPiece(found, promised, from, others, what);
  });
}

/** The same for all that `content` has. */
export function checkContent(view: View, content: PagedBytes, what: () => string): void {
  content.forEach(view.low, view.high, (bytes, at) => checkBytes(view, bytes, at, what));
}

function checkPiece(
  found: Uint8Array,
  promised: Uint8Array,
  from: number,
  others: readonly Alternative[],
  what: () => string,
): void {
  for (let i = 0; i < found.length; ) {
    if (found[i] === promised[i]) {
      i++;
      continue;
    }
    const end = others.reduce((most, other) => (most > i ? most : matchEnd(other, found, promised, from, i)), i);
    const at = from + i;
    must(end > i, () => `${what()}: byte ${at} is ${found[i]}, not ${promised[i]} (${describeOthers(others, at)})`);
    i = end;
  }
}

/** How far `found`, which lies at file offset `at`, has the bytes of `other` or those promised, from `first` on. */
function matchEnd(
  { low, high, values, from }: Alternative,
  found: Uint8Array,
  promised: Uint8Array,
  at: number,
  first: number,
): number {
  if (at + first < low) return first;
  const end = Math.min(found.length, high - at);
  let i = first;
  while (i < end && (found[i] === (values === undefined ? 0 : values[at + i - from]) || found[i] === promised[i])) i++;
  return i;
}

const describeOthers = (others: readonly Alternative[], at: number): string => {
  const values = others
    .filter((other) => at >= other.low && at < other.high)
    .map(({ values: bytes, from }) => bytes?.[at - from] ?? 0);
  return values.length === 0 ? "nothing else was under way there" : `nor ${values.join(", ")}`;
};

/** What flushes have promised of one image: a view that a power cut may leave only for something newer. */
export class Vow {
  view: View;
  issuedAt = 0;

  constructor(oracle: ImageOracle) {
    this.view = oracle.lookAtAll();
  }

  /** A flush that looked at the image when it was asked for was answered with success. */
  keep(oracle: ImageOracle, view: View, issuedAt: number): void {
    if (issuedAt < this.issuedAt) {
      oracle.forget(view);
      return;
    }
    oracle.forget(this.view);
    this.view = view;
    this.issuedAt = issuedAt;
  }

  /** The same, as it is now. To be forgotten. */
  copy(oracle: ImageOracle): Vow {
    const copy = new Vow(oracle);
    oracle.forget(copy.view);
    copy.view = oracle.lookAgain(this.view);
    return copy;
  }

  /** Checks what a device holds. */
  check(content: PagedBytes, size: number, what: () => string): void {
    const sizes = possibleSizes(this.view);
    must(
      sizes.has(size) || (this.view.beside.size > 0 && size >= Math.min(...sizes) && size <= Math.max(...sizes)),
      () => `${what()}: size ${size}, promised ${[...sizes].join(" or ")}`,
    );
    checkContent(this.view, content, what);
  }
}
