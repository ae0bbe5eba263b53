/** `hypegear flush`: dirty data home and on stable media. */
import { relative, resolve } from "node:path";
import { Command } from "commander";
import { ExitCode, Failure } from "../base/errors.ts";
import { command, findMount } from "./control.ts";

export function flushCommand(): Command {
  return new Command("flush")
    .description("Takes dirty data home; it is on stable media when this returns.")
    .argument("<MOUNTPOINT>", "a hypegear mount")
    .argument("[IMAGE]", "only this image: a path inside the mount")
    .action(async (mountpoint: string, image: string | undefined) => {
      await command(mountpoint, image === undefined ? "flush" : `flush ${insideOf(findMount(mountpoint).path, image)}`);
    });
}

/** An image's path as the control file takes it: from the mount's root. */
function insideOf(mountpoint: string, image: string): string {
  const inside = relative(mountpoint, resolve(mountpoint, image));
  if (inside !== "" && !/^\.\.(\/|$)/.test(inside) && !inside.includes("\n")) return inside;
  throw new Failure(`flush ${image}: not inside ${mountpoint}; give the image's path in the mount`, ExitCode.usage);
}
