/** What the files of a fuzzed directory must hold. */

/** The most a modelled file may grow to, bytes. */
export const FILE_BYTES_MAX = 24 * 2 ** 20;

export class ModelFile {
  /** Bytes from `size` on are always 0. */
  readonly bytes = Buffer.alloc(FILE_BYTES_MAX);
  size = 0;
  links = 1;
  /** The last operations on it, for a failure's report. */
  readonly history: string[] = [];

  write(offset: number, length: number, seed: number): void {
    fill(this.bytes.subarray(offset, offset + length), seed);
    this.size = Math.max(this.size, offset + length);
  }

  truncate(size: number): void {
    this.bytes.fill(0, size, Math.max(size, this.size));
    this.size = size;
  }

  zero(from: number, to: number): void {
    this.bytes.fill(0, from, Math.max(from, Math.min(to, this.size)));
  }

  copyFrom(source: ModelFile, from: number, to: number, length: number): void {
    source.bytes.copy(this.bytes, to, from, from + length);
    this.size = Math.max(this.size, to + length);
  }

  /** What a read of `length` bytes at `offset` gives. */
  read(offset: number, length: number): Buffer {
    return this.bytes.subarray(Math.min(offset, this.size), Math.min(offset + length, this.size));
  }

  isZero(from: number, to: number): boolean {
    return this.bytes.subarray(from, to).every((byte) => byte === 0);
  }

  note(text: string): void {
    this.history.push(text);
    if (this.history.length > 400) this.history.splice(0, 200);
  }
}

/** The bytes that `seed` stands for; hand.c makes the same. */
function fill(bytes: Buffer, seed: number): void {
  let x = Math.imul(seed, 2654435761) | 1;
  for (let i = 0; i < bytes.length; i++) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    bytes[i] = x >>> 11;
  }
}

/** Where `found` first differs from `expected`, in words; undefined if they are equal. */
export function difference(found: Buffer, expected: Buffer, offset: number): string | undefined {
  if (found.equals(expected)) return undefined;
  if (found.length !== expected.length) return `${found.length} bytes instead of ${expected.length} at ${offset}`;
  let from = 0;
  while (found[from] === expected[from]) from++;
  let to = found.length;
  while (found[to - 1] === expected[to - 1]) to--;
  const hex = (bytes: Buffer): string => bytes.subarray(from, Math.min(from + 16, to)).toString("hex");
  return `bytes ${offset + from} to ${offset + to - 1}: ${hex(found)} instead of ${hex(expected)}`;
}
