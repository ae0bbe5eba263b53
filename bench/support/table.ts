/** Plain text tables and the way that figures are written. */
import type { Spread } from "./spread.ts";

/** Columns are as wide as their widest cell; all but the first are aligned right. */
export function renderTable(header: string[], rows: string[][]): string {
  const widths = header.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]!.length)));
  const line = (cells: string[]) =>
    cells
      .map((cell, column) => (column === 0 ? cell.padEnd(widths[column]!) : cell.padStart(widths[column]!)))
      .join("  ");
  return [line(header), ...rows.map(line)].map((text) => `  ${text.trimEnd()}\n`).join("");
}

/** Three significant digits at least: 0.812, 4.31, 57.2, 235k. */
export function figure(value: number): string {
  if (value >= 100_000) return `${Math.round(value / 1000)}k`;
  if (value >= 10_000) return `${(value / 1000).toFixed(1)}k`;
  if (value >= 1000) return `${(value / 1000).toFixed(2)}k`;
  if (value >= 100) return value.toFixed(0);
  return value >= 10 ? value.toFixed(1) : value.toFixed(2);
}

/** "median (min-max)", or "-" for what was not measured. */
export const spreadText = (spread: Spread | null): string =>
  spread === null ? "-" : `${figure(spread.median)} (${figure(spread.min)}-${figure(spread.max)})`;
