/** A figure over several rounds. */

export interface Spread {
  median: number;
  min: number;
  max: number;
}

/** The spread of at least one value. */
export function spreadOf(values: number[]): Spread {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  const median = (sorted[Math.ceil(middle) - 1]! + sorted[Math.floor(middle)]!) / 2;
  return { median, min: sorted[0]!, max: sorted.at(-1)! };
}

/** The spread of a[i] / b[i], round by round, so that a noisy round disturbs both sides alike; null without a common round. */
export function ratioSpread(a: (number | null)[], b: (number | null)[]): Spread | null {
  const ratios: number[] = [];
  for (const [round, value] of a.entries()) {
    const other = b[round] ?? null;
    if (value !== null && other !== null && other > 0) ratios.push(value / other);
  }
  return ratios.length === 0 ? null : spreadOf(ratios);
}
