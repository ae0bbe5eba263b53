/** A passthrough in JavaScript on the package fuse-native 2.2.6, over a file in the page cache. */
import { mkdirSync, symlinkSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { detach, isMounted } from "../support/mounts.ts";
import { startServer, stopServer, Unavailable, untilReady } from "../support/process.ts";
import { writeImage } from "../support/scratch.ts";
import type { RunningServer, Server, Stage } from "./server.ts";

const require = createRequire(import.meta.url);
const PEER = fileURLToPath(new URL("../peers/fuse-native-passthrough.js", import.meta.url));

/** The package's binding wants libfuse.so.2; the package ships that library, but under a name that the loader does not try. */
function linkLibrary(directory: string): void {
  let root: string;
  try {
    root = dirname(require.resolve("fuse-native/package.json"));
  } catch {
    throw new Unavailable("the package fuse-native is not installed");
  }
  symlinkSync(join(root, `prebuilds/linux-${process.arch}/libfuse.so`), join(directory, "libfuse.so.2"));
}

/** Mounts the passthrough of `folder` on `mountpoint`; its process. */
export async function mountFuseNative(
  stage: Stage,
  folder: string,
  mountpoint: string,
  variant: "default" | "tuned",
): Promise<number> {
  linkLibrary(stage.directory);
  const library = `LD_LIBRARY_PATH=${stage.directory}`;
  const command = ["env", library, process.execPath, PEER, mountpoint, folder, variant];
  const server = startServer(command, stage.pin, join(stage.directory, "log"));
  stage.cleanup.add(() => detach(mountpoint));
  stage.cleanup.add(() => stopServer(server));
  await untilReady(server, () => isMounted(mountpoint));
  return server.pid;
}

async function start(stage: Stage, variant: "default" | "tuned"): Promise<RunningServer> {
  const mountpoint = join(stage.directory, "mount");
  const folder = join(stage.directory, "backing");
  mkdirSync(mountpoint);
  mkdirSync(folder);
  writeImage(join(folder, "image"), stage.imageBytes);
  const pid = await mountFuseNative(stage, folder, mountpoint, variant);
  return { file: join(mountpoint, "image"), pid };
}

export const fuseNative: Server = {
  name: "fuse-native",
  about: "passthrough on fuse-native 2.2.6, written and mounted as its README does",
  start: (stage) => start(stage, "default"),
};

export const fuseNativeTuned: Server = {
  name: "fuse-native-tuned",
  about: "the same with the fastest options found: synchronous, direct_io, big_writes, no timers",
  start: (stage) => start(stage, "tuned"),
};
