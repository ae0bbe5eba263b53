/** Figures for people: three digits or so, and a unit. */

const BYTE_UNITS = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** For example `512 B`, `1.5 KiB`, `20 GiB`. */
export function humanBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (rounded(value) >= 1024 && unit < BYTE_UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 ? value : digits(value)} ${BYTE_UNITS[unit]}`;
}

/** For example `80 us`, `1.2 ms`, `3.4 s`, `5 min`, `2 h 5 min`, `3 d 4 h`. */
export function humanDuration(us: number): string {
  if (us < 1000) return `${Math.round(us)} us`;
  if (us < 999_500) return `${digits(us / 1000)} ms`;
  if (us < 99_500_000) return `${digits(us / 1e6)} s`;
  const minutes = Math.round(us / 60e6);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return `${hours} h ${minutes % 60} min`;
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** With thousands apart: `1,234,567`. */
export const humanCount = (count: number): string => String(count).replace(/\B(?=(\d{3})+$)/g, ",");

/** `part` of `whole` in whole percent; 0 % and 100 % only when it is none and all. */
export function humanShare(part: number, whole: number): string {
  if (whole === 0 || part === 0) return "0 %";
  if (part === whole) return "100 %";
  return `${Math.min(99, Math.max(1, Math.round((100 * part) / whole)))} %`;
}

/** `count` and a noun in its number: `1 image`, `2 images`. */
export const humanPlural = (count: number, noun: string): string =>
  `${humanCount(count)} ${noun}${count === 1 ? "" : "s"}`;

/** What `digits` would show: 1023.7 KiB shows as 1024, so it becomes 1.0 MiB instead. */
const rounded = (value: number): number => (value >= 9.95 ? Math.round(value) : value);

const digits = (value: number): string => (value >= 9.95 ? String(Math.round(value)) : value.toFixed(1));
