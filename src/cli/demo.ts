/** `hypegear demo`: a guest on a scratch mount, from mkfs to the proof of its data. */
import { Command } from "commander";

export function demoCommand(): Command {
  return new Command("demo")
    .description("Shows a guest running from a mount of a scratch directory; leaves nothing behind.")
    .action(async () => {
      const { demo } = await import("./demo/demo.ts"); // its tools are of no use to the other commands
      process.exitCode = await demo();
    });
}
