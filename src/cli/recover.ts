/** `hypegear recover`: after a power cut, brings home what the journal holds, without mounting. */
import { Command } from "commander";
import { checkBacking, refuseOverlap } from "../keeper/directories.ts";
import { broughtHome } from "../keeper/journals.ts";
import { recoverOffline } from "../keeper/offline.ts";
import { ShareBar } from "./progress.ts";

export function recoverCommand(): Command {
  return new Command("recover")
    .description(
      "Brings home what the journal of a mount holds that a power cut ended, and removes what that mount left.",
    )
    .argument("<BACKING>", "the directory with the images; not mounted")
    .option("--force", "accept the loss of what the journal has lost, and go over images that were changed since")
    .action((path: string, { force = false }: { force?: true | false }) => recover(path, force));
}

function recover(path: string, force: boolean): void {
  const backing = checkBacking(path);
  refuseOverlap(backing);
  const bar = new ShareBar(`${backing}: recovering`);
  try {
    const recovered = recoverOffline({ backing, force, progress: (share) => bar.show(share) });
    bar.end();
    for (const notice of recovered?.notices ?? []) process.stderr.write(`hypegear: ${backing}: ${notice}\n`);
    const { replayed } = recovered ?? {};
    process.stdout.write(`${backing}: ${replayed === undefined ? "nothing to bring home" : broughtHome(replayed)}\n`);
  } finally {
    bar.end();
  }
}
