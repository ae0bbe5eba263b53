/** A progress bar on a terminal; nothing elsewhere. */
import { formatSize } from "../base/size.ts";

const BAR_CELLS = 30;
const ERASE_LINE = "\r\u001b[K";

/** One bar's text: `draining [#####.....] 50%  512M left`. */
export function barText(what: string, done: number, total: number): string {
  const share = total <= 0 ? 1 : Math.min(1, Math.max(0, done / total));
  const full = Math.floor(share * BAR_CELLS);
  const bar = "#".repeat(full) + ".".repeat(BAR_CELLS - full);
  return `${what} [${bar}] ${Math.floor(share * 100)}%  ${formatSize(Math.max(0, total - done))} left`;
}

/** Shows what is `left` of the most that was ever left, until `work` has ended. Failures of `left` are not shown. */
export async function withProgress<T>(what: string, left: () => Promise<number>, work: Promise<T>): Promise<T> {
  if (!process.stderr.isTTY) return work;
  const shown = { ended: false, total: 0 };
  const end = (): void => {
    shown.ended = true;
  };
  work.then(end, end);
  while (!shown.ended) {
    const now = await left().catch(() => 0);
    shown.total = Math.max(shown.total, now);
    process.stderr.write(`${ERASE_LINE}${barText(what, shown.total - now, shown.total)}`);
    await Promise.race([work.catch(() => undefined), new Promise((resolve) => setTimeout(resolve, 200))]);
  }
  process.stderr.write(ERASE_LINE);
  return work;
}
