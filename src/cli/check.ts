/** `hypegear check`: what an earlier mount left in a directory, and what the next one would do with it. Changes nothing. */
import { Command } from "commander";
import { ExitCode } from "../base/errors.ts";
import { formatSize } from "../base/size.ts";
import { checkBacking } from "../keeper/directories.ts";
import { type Condition, type Inspection, inspect } from "../keeper/inspection.ts";
import { humanPlural } from "../stats/human.ts";

const IMAGES_SHOWN = 10;

export function checkCommand(): Command {
  return new Command("check")
    .description("Says what an earlier mount left in a directory, and whether all of it can be brought home.")
    .argument("<BACKING>", "the directory with the images; not mounted")
    .addHelpText("after", "\nExit codes: 0 clean or recoverable, 3 a mount or recover would refuse.")
    .action((path: string) => {
      const backing = checkBacking(path);
      const inspection = inspect(backing);
      process.stdout.write(`${[backing, ...lines(backing, inspection)].join("\n")}\n`);
      process.exitCode = inspection.condition === "refused" ? ExitCode.refused : ExitCode.done;
    });
}

const row = (label: string, text: string): string => `  ${label.padEnd(9)}${text}`;

function lines(backing: string, inspection: Inspection): string[] {
  return [
    row("state", stateOf(inspection)),
    ...inspection.dead.map((path) =>
      row("mount", `dead, at ${path}; it stays until the next one serves, or hypegear umount`),
    ),
    row("slab", inspection.slab ?? "none"),
    row("journal", journalOf(inspection)),
    ...imagesOf(inspection),
    row("verdict", VERDICTS[inspection.condition](backing, inspection)),
  ];
}

function stateOf({ state, isThisBoot }: Inspection): string {
  if (state === undefined) return "none: no mount, or one that ended well";
  if (!state.serving) return `of a mount at ${state.mountpoint} that never served, or has everything home`;
  return `of a mount at ${state.mountpoint} (keeper pid ${state.pid}), ${isThisBoot ? "since this boot" : "which a power cut or reboot ended"}`;
}

function journalOf({ journal, content }: Inspection): string {
  if (journal === undefined) return "none";
  const what = journal.what === "" ? formatSize(journal.bytes) : journal.what;
  const held =
    content === undefined
      ? ""
      : `, ${humanPlural(content.commits, "commit")} of ${humanPlural(content.images, "image")}`;
  return `${journal.place.shown}: ${what}${held}`;
}

function imagesOf({ content }: Inspection): string[] {
  const images = content?.perImage ?? [];
  const rows = images.slice(0, IMAGES_SHOWN).map(({ path, bytes }) => row("", `${path}: ${formatSize(bytes)}`));
  return images.length > IMAGES_SHOWN ? [...rows, row("", `and ${images.length - IMAGES_SHOWN} more`)] : rows;
}

const VERDICTS: Record<Condition, (backing: string, inspection: Inspection) => string> = {
  clean: () => "clean: all is home",
  mounted: () => "in use: a daemon has it; see hypegear stats",
  carry: (backing) => `killed, nothing is lost: hypegear mount ${backing} carries on with the slab`,
  recoverable: (backing, { content }) =>
    content === undefined
      ? "recoverable: what was flushed is home"
      : `recoverable: hypegear mount ${backing}, or hypegear recover ${backing}, brings it home`,
  refused: (_, { why }) => `refused: ${why}`,
};
