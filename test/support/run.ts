/** One external command, run to its end without blocking this process (which may be the only one to look after a mount). */
import { type ChildProcess, type SpawnOptions, spawn } from "node:child_process";
import { MARK } from "./marks.ts";

export interface Outcome {
  /** Exit code; 128 + signal number is a shell's, here a signal death is -1. */
  code: number;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  /** Milliseconds after which the command is killed and the promise rejects; default 60 s. */
  timeout?: number;
  cwd?: string;
  env?: Record<string, string>;
  /** Given to the command's standard input. */
  input?: string;
}

/** Runs `command` and returns its outcome, whatever its exit code. Rejects when it cannot start or does not end in time. */
export const run = (command: string, args: readonly string[] = [], options: RunOptions = {}): Promise<Outcome> =>
  start(command, args, options).outcome;

/** Like `run`, with the process, for a test that sends it signals. */
export function start(
  command: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): { child: ChildProcess; outcome: Promise<Outcome> } {
  const { timeout = 60_000, input = "" } = options;
  const child = spawn(command, args, spawnOptions(options));
  const collected = { stdout: "", stderr: "" };
  for (const name of ["stdout", "stderr"] as const) {
    child[name]?.setEncoding("utf8").on("data", (text: string) => (collected[name] += text));
  }
  child.stdin?.on("error", () => {}); // a command that does not read its input closes it
  child.stdin?.end(input);
  const outcome = new Promise<Outcome>((resolve, reject) => {
    const line = [command, ...args].join(" ");
    const timer = setTimeout(() => {
      child.kill("SIGKILL");
      reject(new Error(`${line}: still running after ${timeout} ms\n${collected.stdout}${collected.stderr}`));
    }, timeout);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(new Error(`${line}: ${error.message}`));
    });
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ code: code ?? -1, ...collected });
    });
  });
  return { child, outcome };
}

/** Like `run`, for a command that must succeed: returns its standard output, rejects with its output when the exit code is not 0. */
export async function succeed(
  command: string,
  args: readonly string[] = [],
  options: RunOptions = {},
): Promise<string> {
  const { code, stdout, stderr } = await run(command, args, options);
  if (code !== 0) throw new Error(`${[command, ...args].join(" ")}: exit code ${code}\n${stdout}${stderr}`);
  return stdout;
}

const spawnOptions = ({ cwd, env }: RunOptions): SpawnOptions => ({
  stdio: "pipe",
  env: { ...process.env, PATH: `${process.env["PATH"]}:/usr/sbin:/sbin`, ...MARK, ...env },
  ...(cwd === undefined ? {} : { cwd }),
});
