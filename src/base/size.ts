/**
 * Sizes, durations and shares as people type them (`1G`, `30s`, `80%`). One parser each, used by the command line and by the
 * control file, so that both refuse the same things with the same words.
 */
import { ExitCode, Failure } from "./errors.ts";

/** What a value may be, in the parser's own unit. */
export interface Bounds {
  min: number;
  max: number;
  /** If given, 0 is accepted too and means this. */
  zero?: string;
}

const SIZE_UNITS: Record<string, number> = { "": 1, K: 2 ** 10, M: 2 ** 20, G: 2 ** 30, T: 2 ** 40 };
const TIME_UNITS: Record<string, number> = { "": 1, ms: 0.001, s: 1, m: 60, h: 3600, d: 86400 };

/** Bytes: a number with k, M, G or T (powers of 1024; `KiB` and the like too). Throws a usage `Failure` naming `what`. */
export function parseSize(text: string, what: string, bounds: Bounds): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kKmMgGtT]?)(?:i?[bB])?$/.exec(text.trim());
  const value = match === null ? Number.NaN : Math.floor(Number(match[1]) * SIZE_UNITS[match[2]!.toUpperCase()]!);
  return bounded(value, text, what, "a size", bounds, formatSize);
}

/** Seconds: a number with ms, s, m, h or d; s when it has none. Throws a usage `Failure` naming `what`. */
export function parseDuration(text: string, what: string, bounds: Bounds): number {
  const match = /^(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|)$/.exec(text.trim());
  const value = match === null ? Number.NaN : Number(match[1]) * TIME_UNITS[match[2]!]!;
  return bounded(value, text, what, "a duration", bounds, formatDuration);
}

/** A share between 0 and 1, typed `80%` or `0.8`. Throws a usage `Failure` naming `what`. */
export function parseShare(text: string, what: string, bounds: Bounds): number {
  const match = /^(\d+(?:\.\d+)?)\s*(%?)$/.exec(text.trim());
  const value = match === null ? Number.NaN : Number(match[1]) / (match[2] === "%" ? 100 : 1);
  return bounded(value, text, what, "a percentage", bounds, formatShare);
}

/** One of `choices`, or a usage `Failure` that lists them. */
export function parseChoice<T extends string>(text: string, what: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === text);
  if (found === undefined) {
    throw new Failure(`${what} "${text}": no such choice; give one of ${choices.join(", ")}`, ExitCode.usage);
  }
  return found;
}

/** Bytes for people, at most one decimal: `1G`, `1.5M`, `512`. */
export const formatSize = (bytes: number): string => {
  const unit = ["T", "G", "M", "K"].find((name) => bytes >= SIZE_UNITS[name]!) ?? "";
  return `${trimmed(bytes / SIZE_UNITS[unit]!)}${unit}`;
};

/** Seconds for people: `5s`, `1.5h`. */
export const formatDuration = (seconds: number): string => {
  const unit = ["d", "h", "m", "s", "ms"].find((name) => seconds >= TIME_UNITS[name]!) ?? "s";
  return `${trimmed(seconds / TIME_UNITS[unit]!)}${unit}`;
};

/** A share for people: `80%`. */
export const formatShare = (share: number): string => `${trimmed(share * 100)}%`;

/** `8M to 64G`, with what 0 means where 0 is accepted. */
export const describeBounds = (bounds: Bounds, format: (value: number) => string): string =>
  `${format(bounds.min)} to ${format(bounds.max)}${bounds.zero === undefined ? "" : `, or 0 (${bounds.zero})`}`;

const trimmed = (value: number): string => String(Math.round(value * 10) / 10);

function bounded(
  value: number,
  text: string,
  what: string,
  kind: string,
  bounds: Bounds,
  format: (n: number) => string,
): number {
  if (value === 0 && bounds.zero !== undefined) return 0;
  const why = Number.isNaN(value)
    ? `not ${kind}`
    : value < bounds.min
      ? "too small"
      : value > bounds.max
        ? "too large"
        : "";
  if (why === "") return value;
  throw new Failure(`${what} "${text}": ${why}; give ${describeBounds(bounds, format)}`, ExitCode.usage);
}
