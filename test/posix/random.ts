/** Numbers that a seed determines. */
export class Seeded {
  private state: number;

  constructor(seed: number) {
    this.state = (seed ^ 0x9e3779b9) >>> 0;
  }

  /** 32 bits (mulberry32). */
  bits(): number {
    this.state = (this.state + 0x6d2b79f5) >>> 0;
    let x = this.state;
    x = Math.imul(x ^ (x >>> 15), x | 1);
    x ^= x + Math.imul(x ^ (x >>> 7), x | 61);
    return (x ^ (x >>> 14)) >>> 0;
  }

  /** A whole number from 0 to `end` - 1. */
  below(end: number): number {
    return Math.floor((this.bits() / 4294967296) * end);
  }

  /** True in `share` of all calls. */
  chance(share: number): boolean {
    return this.bits() < share * 4294967296;
  }

  pick<T>(of: readonly T[]): T {
    return of[this.below(of.length)]!;
  }

  /** A length from 1 to `max`: short ones as often as long ones. */
  length(max: number): number {
    return Math.max(1, this.below(Math.ceil(2 ** ((this.below(1000) / 1000) * Math.log2(max)))) + 1);
  }
}
