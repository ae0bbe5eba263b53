/** Who is asked to make 4k writes durable, in the order of the table: each serves one image for every writer. */
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { mountFuseNative } from "./servers/fuse-native.ts";
import { mountHypegear } from "./servers/hypegear.ts";
import { exportWithQemu } from "./servers/qemu.ts";
import type { Stage } from "./servers/server.ts";
import { writeImage } from "./support/scratch.ts";

export interface DurableServer {
  name: string;
  about: string;
  /** It is also measured without any flush: what its flushes cost is told by itself. */
  unflushed: boolean;
  /** Starts it, on `writers` images of `stage.imageBytes` each, and leaves stopping it to `stage.cleanup`; the images' paths. */
  start(stage: Stage, writers: number): Promise<string[]>;
}

const names = (writers: number): string[] => Array.from({ length: writers }, (_, index) => `image${index}`);

const below = (folder: string, writers: number): string[] => names(writers).map((name) => join(folder, name));

function makeImages(stage: Stage, writers: number): { backing: string; mountpoint: string } {
  const [backing, mountpoint] = [join(stage.directory, "backing"), join(stage.directory, "mount")];
  for (const path of [backing, mountpoint]) mkdirSync(path);
  for (const path of below(backing, writers)) writeImage(path, stage.imageBytes);
  return { backing, mountpoint };
}

const hypegear = (name: string, about: string, args: readonly string[], unflushed = false): DurableServer => ({
  name,
  about,
  unflushed,
  start: async (stage, writers) => {
    const { backing, mountpoint } = makeImages(stage, writers);
    await mountHypegear(stage, backing, mountpoint, args);
    return below(mountpoint, writers);
  },
});

export const DURABLE_SERVERS: readonly DurableServer[] = [
  {
    name: "backing",
    about: "the backing filesystem itself, O_DIRECT to its device",
    unflushed: true,
    start: (stage, writers) => Promise.resolve(below(makeImages(stage, writers).backing, writers)),
  },
  hypegear("sync", "hypegear, --durability sync: a flush returns when its data is on stable media", []),
  hypegear("sync-cache-off", "the same with --cache off: a write goes to the image, by way of its page cache", [
    "--cache",
    "off",
  ]),
  hypegear(
    "ordered",
    "hypegear, --durability ordered: a flush returns at once, a power cut goes back to one instant of at most 5 s ago",
    ["--durability", "ordered"],
    true,
  ),
  hypegear(
    "volatile",
    "hypegear, --durability volatile: a flush does nothing; what two requests cost instead of one",
    ["--durability", "volatile"],
    true,
  ),
  {
    name: "fuse-native",
    about: "passthrough on fuse-native 2.2.6, written and mounted as its README does",
    unflushed: false,
    start: async (stage, writers) => {
      const { backing, mountpoint } = makeImages(stage, writers);
      await mountFuseNative(stage, backing, mountpoint, "default");
      return below(mountpoint, writers);
    },
  },
  {
    name: "qemu",
    about: "qemu-storage-daemon, a FUSE export for each raw file, cache.direct=on, aio=io_uring",
    unflushed: false,
    start: async (stage, writers) => {
      const { backing, mountpoint } = makeImages(stage, writers);
      const exported = below(mountpoint, writers);
      await exportWithQemu(stage, below(backing, writers), exported, "on");
      return exported;
    },
  },
];
