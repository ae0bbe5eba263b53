/**
 * Commands written to the control file, and their answers: one line, `ok` and what there is to say, or `error`, the exit
 * code that a program should end with, and a message. Both are byte strings kept as latin1, as names are.
 */
import { ExitCode, Failure } from "../base/errors.ts";

export interface ControlCommands {
  /** Carries out `line`, which has no line feed. `done` is called once, at once or later. */
  run(line: string, done: (answer: string) => void): void;
}

export interface Command {
  /** What follows the command's name, for messages: `[IMAGE]`; empty for nothing. */
  usage: string;
  /** `argument`: the line after the command's name and one blank. A Failure thrown is the answer. */
  run(argument: string, done: (answer: string) => void): void;
}

export const answerOk = (text = ""): string => (text === "" ? "ok" : `ok ${text}`);

export const answerError = (code: ExitCode, message: string): string =>
  `error ${code} ${message.replaceAll("\n", " ")}`;

/** The exit code of an answer: 0 for `ok`. */
export function exitCodeOf(answer: string): number {
  if (/^ok\b/.test(answer)) return ExitCode.done;
  return Number(/^error ([1-9])\b/.exec(answer)?.[1] ?? ExitCode.failed);
}

/** The commands by name. */
export class CommandTable implements ControlCommands {
  private readonly commands: ReadonlyMap<string, Command>;

  constructor(commands: Readonly<Record<string, Command>>) {
    this.commands = new Map(Object.entries(commands));
  }

  run(line: string, done: (answer: string) => void): void {
    const blank = line.indexOf(" ");
    const name = blank < 0 ? line : line.slice(0, blank);
    const argument = blank < 0 ? "" : line.slice(blank + 1);
    const command = this.commands.get(name);
    if (command === undefined) {
      done(
        answerError(ExitCode.usage, `${name === "" ? "an empty line" : name} is no command; there are ${this.names()}`),
      );
    } else if (command.usage === "" && argument !== "") {
      done(answerError(ExitCode.usage, `${name} takes nothing: received ${argument}`));
    } else {
      carryOut(command, argument, done);
    }
  }

  private names(): string {
    return Array.from(this.commands, ([name, { usage }]) => (usage === "" ? name : `${name} ${usage}`)).join(", ");
  }
}

function carryOut(command: Command, argument: string, done: (answer: string) => void): void {
  try {
    command.run(argument, done);
  } catch (error) {
    if (!(error instanceof Failure)) throw error;
    done(answerError(error.exitCode, error.message));
  }
}
