/** `hypegear stats`: what the mount has done. */
import { Command } from "commander";
import { controlFile } from "./control.ts";

export function statsCommand(): Command {
  return new Command("stats")
    .description("Shows what the mount has done since it began.")
    .argument("<MOUNTPOINT>", "a hypegear mount")
    .option("--json", "the same as stats.json")
    .action(async (mountpoint: string, { json }: { json?: true }) => {
      process.stdout.write(await controlFile(mountpoint, json === true ? "stats.json" : "stats"));
    });
}
