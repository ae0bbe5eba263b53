/** The settings that can be changed while mounted: one row each, for `mount` and `set` alike. */
import { LOSS_WINDOW_S_MAX, LOSS_WINDOW_S_MIN } from "../base/limits.ts";
import { LOG_LEVELS } from "../base/log.ts";
import {
  describeBounds,
  formatDuration,
  formatShare,
  formatSize,
  parseChoice,
  parseDuration,
  parseShare,
  parseSize,
} from "../base/size.ts";

const AGE = { min: 1, max: 7 * 86_400, zero: "no limit" };
const SHARE = { min: 0.05, max: 0.95 };
const RATE = { min: 64 * 1024, max: 2 ** 40, zero: "no limit" };

const WINDOW = { min: LOSS_WINDOW_S_MIN, max: LOSS_WINDOW_S_MAX };

/** Bounds in words, for the help. */
export const SETTING_BOUNDS = {
  lossWindow: describeBounds(WINDOW, formatDuration),
  maxAge: describeBounds(AGE, formatDuration),
  dirtyLimit: describeBounds(SHARE, formatShare),
  rateLimit: describeBounds(RATE, formatSize),
};

/** Each parser returns the value as the control file takes it: seconds, a share, bytes, a word. */
const PARSERS = {
  durability: (text, what) => parseChoice(text, what, ["sync", "ordered", "volatile"]),
  "loss-window": (text, what) => String(parseDuration(text, what, WINDOW)),
  device: (text, what) => parseChoice(text, what, ["auto", "hdd", "ssd"]),
  "dirty-limit": (text, what) => String(parseShare(text, what, SHARE)),
  "rate-limit": (text, what) => String(parseSize(text, what, RATE)),
  "max-age": (text, what) => String(parseDuration(text, what, AGE)),
  "log-level": (text, what) => parseChoice(text, what, LOG_LEVELS),
} satisfies Record<string, (text: string, what: string) => string>;

export type SettingKey = keyof typeof PARSERS;
export const SETTING_KEYS = Object.keys(PARSERS) as SettingKey[];

/** The canonical text of a setting's value. Throws a usage `Failure` that names `what`. */
export const parseSetting = (key: SettingKey, text: string, what: string): string => PARSERS[key](text, what);
