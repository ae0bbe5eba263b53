/** The command line: one command a file, errors as one line, exit codes as `base/errors.ts` documents them. */
import { Command, CommanderError } from "commander";
import { ExitCode, Failure } from "../base/errors.ts";
import { checkCommand } from "./check.ts";
import { demoCommand } from "./demo.ts";
import { flushCommand } from "./flush.ts";
import { mountCommand } from "./mount.ts";
import { recoverCommand } from "./recover.ts";
import { setCommand } from "./set.ts";
import { statsCommand } from "./stats.ts";
import { topCommand } from "./top.ts";
import { umountCommand } from "./umount.ts";
import { verifyCommand, verifyWriterCommand } from "./verify.ts";
import { version } from "./version.ts";

const EXIT_CODES =
  "Exit codes: 0 done, 1 failed, 2 usage, 3 refused (would lose data, already mounted, damaged), 4 not permitted.";

function program(): Command {
  const commands = [
    mountCommand(),
    umountCommand(),
    flushCommand(),
    statsCommand(),
    topCommand(),
    setCommand(),
    recoverCommand(),
    checkCommand(),
    demoCommand(),
    verifyCommand(),
  ];
  const writer = verifyWriterCommand();
  const root = new Command("hypegear")
    .description("A write-back cache for directories of virtual-machine images, mounted as a filesystem.")
    .version(version, "-V, --version")
    .addHelpText("after", `\n${EXIT_CODES}`);
  for (const command of commands) root.addCommand(command);
  root.addCommand(writer, { hidden: true });
  for (const command of [root, ...commands, writer]) {
    command
      .exitOverride()
      .configureOutput({ outputError: () => undefined })
      .showSuggestionAfterError(true);
  }
  return root;
}

/** mount(8) starts a FUSE program from fstab as `hypegear BACKING MOUNTPOINT -o LIST`. */
const withCommand = (args: string[]): string[] => (args[0]?.startsWith("/") === true ? ["mount", ...args] : args);

/** Tells the user; the exit code that belongs to it. */
function complain(error: unknown): ExitCode {
  if (error instanceof CommanderError) {
    if (error.exitCode === 0 || error.code === "commander.help")
      return error.exitCode === 0 ? ExitCode.done : ExitCode.usage;
    say(`${error.message.replace(/^error: /, "")}; see hypegear --help`);
    return ExitCode.usage;
  }
  say(error instanceof Error ? error.message : String(error));
  return error instanceof Failure ? error.exitCode : ExitCode.failed;
}

const say = (message: string): boolean =>
  process.stderr.write(`hypegear: ${message.trim().replaceAll(/\s*\n\s*/g, " ")}\n`);

/** A reader that has enough, as head(1), is no error; a full disk is. */
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code !== "EPIPE")
    process.exitCode = complain(new Failure(`standard output: ${error.code ?? error.message}`));
});

try {
  await program().parseAsync(withCommand(process.argv.slice(2)), { from: "user" });
} catch (error) {
  process.exitCode = complain(error);
}
