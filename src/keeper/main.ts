/** The detached keeper: argv[2] is a KeeperConfig, descriptor 3 takes lines, each a Report, for the command that started it. */
import { closeSync, writeSync } from "node:fs";
import { ExitCode, Failure } from "../base/errors.ts";
import type { KeeperConfig, Report } from "./config.ts";
import { keep } from "./keeper.ts";

const REPORT_FD = 3;

function report(line: Report): void {
  try {
    writeSync(REPORT_FD, `${JSON.stringify(line)}\n`);
    if (line.type !== "recovering") closeSync(REPORT_FD);
  } catch {
    // The command was interrupted: the mount goes on without it.
  }
}

/** An error that is no `Failure` is a bug or a rare system error: its text is told all the same. */
async function main(config: KeeperConfig): Promise<ExitCode> {
  try {
    return await keep(config, report, (share) => report({ type: "recovering", share }));
  } catch (error) {
    const failure =
      error instanceof Failure ? error : new Failure(`keeper: ${(error as Error).message}`, ExitCode.failed, error);
    report({ type: "failed", message: failure.message, exitCode: failure.exitCode });
    return failure.exitCode;
  }
}

process.exitCode = await main(JSON.parse(process.argv[2]!) as KeeperConfig);
