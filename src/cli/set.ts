/** `hypegear set`: changes a setting of a running mount. */
import { Command } from "commander";
import { ExitCode, Failure } from "../base/errors.ts";
import { command } from "./control.ts";
import { parseSetting, SETTING_BOUNDS, SETTING_KEYS } from "./settings.ts";

const KEYS = `durability=sync|ordered|volatile, loss-window=${SETTING_BOUNDS.lossWindow}, device=auto|hdd|ssd, dirty-limit=${SETTING_BOUNDS.dirtyLimit}, rate-limit=${SETTING_BOUNDS.rateLimit}, max-age=${SETTING_BOUNDS.maxAge}, log-level=LEVEL`;

export function setCommand(): Command {
  return new Command("set")
    .description(`Changes a setting while mounted: ${KEYS}.`)
    .argument("<MOUNTPOINT>", "a hypegear mount")
    .argument("<KEY=VALUE...>", "what to change")
    .action(async (mountpoint: string, items: string[]) => {
      const settings = items.map(checked); // all of them before the first takes effect
      for (const setting of settings) await command(mountpoint, `set ${setting}`);
    });
}

/** `key=value` with the value as the control file takes it. */
function checked(item: string): string {
  const at = item.indexOf("=");
  const key = SETTING_KEYS.find((candidate) => candidate === item.slice(0, Math.max(at, 0)));
  if (key !== undefined) return `${key}=${parseSetting(key, item.slice(at + 1), key)}`;
  const why = at < 0 ? "not KEY=VALUE" : "no such setting";
  throw new Failure(`set ${item}: ${why}; the settings are ${SETTING_KEYS.join(", ")}`, ExitCode.usage);
}
