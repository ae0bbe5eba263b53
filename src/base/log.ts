/** The log: pino with a synchronous destination, so that the last line before a death is on disk. */
import { openSync, writeSync } from "node:fs";
import { isatty } from "node:tty";
import { type DestinationStream, type Logger, pino } from "pino";
import { ExitCode, Failure } from "./errors.ts";

export type Log = Logger;

/** Levels that `--log-level` takes, most severe first. */
export const LOG_LEVELS = ["fatal", "error", "warn", "info", "debug", "trace"] as const;

const STDERR = 2;

/**
 * Opens the log. `file` is appended to (made with mode 0600); empty: standard error, in words on a terminal and as JSON
 * elsewhere. `fields` are in every line, beside the process id.
 */
export function openLog(file: string, level: string, fields: Record<string, string>): Log {
  return pino({ level, base: { pid: process.pid, ...fields } }, destination(file));
}

function destination(file: string): DestinationStream {
  const fd = file === "" ? STDERR : openForAppend(file);
  const shape = file === "" && isatty(STDERR) ? inWords : (line: string): string => line;
  return { write: (line) => writeOrDrop(fd, shape(line)) };
}

/** A log on a full disk, or a reader that is gone, must not end a daemon that holds guests' data. */
function writeOrDrop(fd: number, line: string): void {
  try {
    writeSync(fd, line);
  } catch {
    // Nothing is left to tell it to.
  }
}

function openForAppend(file: string): number {
  try {
    return openSync(file, "a", 0o600);
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code ?? String(error);
    const exitCode = code === "EACCES" || code === "EPERM" ? ExitCode.forbidden : ExitCode.failed;
    throw new Failure(
      `log file ${file}: cannot be opened (${code}); give a --log-file that can be written`,
      exitCode,
      error,
    );
  }
}

/** A JSON log line as a person reads it: time of day, level, message. */
function inWords(line: string): string {
  const { time, level, msg } = JSON.parse(line) as { time: number; level: number; msg?: string };
  const clock = new Date(time).toTimeString().slice(0, 8);
  return `${clock} ${(pino.levels.labels[level] ?? "").padEnd(5)} ${msg ?? ""}\n`;
}
