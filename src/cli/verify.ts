/** `hypegear verify`: the promises put to the test on the user's own filesystem. */
import { Command, Option } from "commander";
import { kebab, MOUNT_OPTIONS, type MountOptions } from "./mount-options.ts";
import type { WriterOrders } from "./verify/writer.ts";

/** Those that change what is put to the test. */
const OPTIONS = [
  "cacheSize",
  "cache",
  "durability",
  "lossWindow",
  "journalSize",
  "maxAge",
  "device",
  "transport",
  "io",
  "dirtyLimit",
  "rateLimit",
] as const satisfies readonly (keyof MountOptions)[];

/** Small, so that pressure is part of the test. */
const OWN_SIZES = { cacheSize: "16M", journalSize: "16M" } as const;

export function verifyCommand(): Command {
  const given = new Map<string, string>(Object.entries(OWN_SIZES));
  const options = new Command("verify")
    .description("Kills scratch mounts under load, beside your images, and checks that nothing is lost; in a minute.")
    .argument("<BACKING>", "a directory on the filesystem in question; what is in it is not touched");
  for (const key of OPTIONS) {
    const { value, help, shown } = MOUNT_OPTIONS[key];
    const option = new Option(
      `--${kebab(key)} <${value}>`,
      `${help} (default: ${key in OWN_SIZES ? OWN_SIZES[key as keyof typeof OWN_SIZES] : shown})`,
    );
    options.addOption(
      option.argParser((text) => {
        MOUNT_OPTIONS[key].parse(text);
        given.set(key, text);
      }),
    );
  }
  return options.action(async (images: string) => {
    const { verify } = await import("./verify/verify.ts"); // its tools are of no use to the other commands
    process.exitCode = await verify({
      images,
      mountOptions: [...given].flatMap(([key, text]) => [`--${kebab(key)}`, text]),
      durability: given.get("durability") ?? MOUNT_OPTIONS.durability.initial,
      cacheBytes: MOUNT_OPTIONS.cacheSize.parse(given.get("cacheSize")!),
    });
  });
}

/** The process that `verify` starts to write; of no use to people. */
export function verifyWriterCommand(): Command {
  return new Command("verify-writer").argument("<ORDERS>").action(async (orders: string) => {
    const { writeStamps } = await import("./verify/writer.ts");
    await writeStamps(JSON.parse(orders) as WriterOrders);
  });
}
