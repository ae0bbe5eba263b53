/** What the control file takes: `flush [IMAGE]`, `drain`, `set KEY=VALUE`, `status`. */
import { E, errnoName } from "../base/errno.ts";
import { ExitCode } from "../base/errors.ts";
import { answerError, answerOk, CommandTable, type ControlCommands } from "../fs/control-commands.ts";
import type { Inodes } from "../fs/inodes.ts";
import type { Volume } from "../volume/volume.ts";
import { slotAt } from "./paths.ts";
import type { Settings } from "./settings.ts";

export function controlCommands(volume: Volume, inodes: Inodes, settings: Settings): ControlCommands {
  const finish = (what: string, done: (answer: string) => void) => (result: number) => {
    if (result === 0) done(answerOk());
    else
      done(
        answerError(
          ExitCode.failed,
          `${what} failed: ${errnoName(result)}; the data is kept and tried again, see the log`,
        ),
      );
  };
  return new CommandTable({
    flush: {
      usage: "[IMAGE]",
      run: (path, done) => {
        const slot = path === "" ? undefined : slotAt(inodes, path);
        if (path === "") volume.drain.once(finish("flush", done));
        else if (slot === undefined) done(answerOk());
        else volume.flushHome(slot, finish(`flush ${path}`, done));
      },
    },
    drain: { usage: "", run: (_, done) => volume.drain.once(finish("drain", done)) },
    set: {
      usage: "KEY=VALUE",
      run: (assignment, done) => {
        settings.set(assignment, (result) => {
          if (result === 0) done(answerOk());
          else done(answerError(ExitCode.failed, notSet(assignment, result)));
        });
      },
    },
    status: { usage: "", run: (_, done) => done(answerOk(JSON.stringify(settings.current))) },
  });
}

const notSet = (assignment: string, result: number): string =>
  result === -E.EOPNOTSUPP
    ? `set ${assignment}: takes a journal, which this mount does not have; mount with one`
    : `set ${assignment}: ${errnoName(result)}; nothing has changed, see the log`;
