/** What was checked of each promise, and how it came out. */

const BROKEN_SHOWN = 3;

interface Row {
  /** The promise, in the README's words. */
  promise: string;
  /** How often it was put to the test. */
  times: number;
  broken: string[];
}

export class Verdict {
  private readonly rows = new Map<string, Row>();

  /** A promise was put to the test once more; `broken` says in which ways it was not kept. */
  tried(promise: string, broken: readonly string[]): void {
    const row = this.rows.get(promise) ?? { promise, times: 0, broken: [] };
    this.rows.set(promise, row);
    row.times++;
    row.broken.push(...broken);
  }

  get isGood(): boolean {
    return [...this.rows.values()].every(({ broken }) => broken.length === 0);
  }

  /** One line a promise, and below one that was broken some of what was found. */
  lines(): string[] {
    return [...this.rows.values()].flatMap(({ promise, times, broken }) => {
      const result = broken.length === 0 ? "kept" : "BROKEN";
      const more = broken.length > BROKEN_SHOWN ? [`        and ${broken.length - BROKEN_SHOWN} more`] : [];
      const found = broken.slice(0, BROKEN_SHOWN).map((text) => `        ${text}`);
      return [`${result.padEnd(6)}  ${promise}  (${times === 1 ? "once" : `${times} times`})`, ...found, ...more];
    });
  }
}
