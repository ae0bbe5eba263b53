/** A progress bar on a terminal; nothing elsewhere. */
import { writeSync } from "node:fs";
import { formatSize } from "../base/size.ts";

const STDERR = 2;
const BAR_CELLS = 30;
const ERASE_LINE = "\r\u001b[K";

/** One bar's text: `draining [#####.....] 50%  512M left`. */
export function barText(what: string, done: number, total: number): string {
  const share = total <= 0 ? 1 : Math.min(1, Math.max(0, done / total));
  return `${cells(what, share)}  ${formatSize(Math.max(0, total - done))} left`;
}

function cells(what: string, share: number): string {
  const full = Math.floor(share * BAR_CELLS);
  return `${what} [${"#".repeat(full)}${".".repeat(BAR_CELLS - full)}] ${Math.floor(share * 100)}%`;
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

/** A bar for work that tells what share of it is done, and that does not let timers run meanwhile. */
export class ShareBar {
  private readonly what: string;
  private percent = -1;

  constructor(what: string) {
    this.what = what;
  }

  show(share: number): void {
    const percent = Math.floor(Math.min(1, share) * 100);
    if (!process.stderr.isTTY || percent === this.percent) return;
    this.percent = percent;
    writeSync(STDERR, `${ERASE_LINE}${cells(this.what, share)}`);
  }

  end(): void {
    if (this.percent >= 0) writeSync(STDERR, ERASE_LINE);
    this.percent = -1;
  }
}
