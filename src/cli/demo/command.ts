/** Short commands run beside the demo and the tests' guests. */
import { spawn } from "node:child_process";
import { basename } from "node:path";
import { Failure } from "../../base/errors.ts";

/** How long output may still come after a command's exit. */
const OUTPUT_GRACE_MS = 500;

/**
 * Runs `program` to its end and returns what it wrote, standard error included; a Failure with that text when its exit
 * status is not 0. A Ctrl-C at the terminal does not reach it: the caller decides what is still to be finished.
 */
export function runCommand(program: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { stdio: ["ignore", "pipe", "pipe"], detached: true });
    let output = "";
    child.stdout.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    child.stderr.on("data", (chunk: Buffer) => (output += chunk.toString("utf8")));
    const fail = (why: string): void => reject(new Failure(`${basename(program)} ${args.join(" ")}: ${why}`));
    child.once("error", (error) => fail(error.message));
    // A daemon that the command leaves behind may keep its output open: do not wait for that end for ever.
    child.once("exit", () =>
      setTimeout(() => [child.stdout, child.stderr].forEach((stream) => stream.destroy()), OUTPUT_GRACE_MS).unref(),
    );
    child.once("close", (status, signal) => {
      if (status === 0) resolve(output);
      else fail(`${output.trim() || "said nothing"} (${signal ?? `status ${status}`})`);
    });
  });
}
