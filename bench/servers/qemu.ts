/**
 * qemu-storage-daemon's FUSE export of a raw file. cache.direct=off, because that is the same bargain as a write-back cache's: a
 * write is answered from memory and reaches the disk with a flush; with `on` each write would wait for the disk (0.4 x here).
 * aio=io_uring was the fastest of threads, native and io_uring.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { detach, isMounted } from "../support/mounts.ts";
import { startServer, stopServer, untilReady } from "../support/process.ts";
import { writeImage } from "../support/scratch.ts";
import type { Server, Stage } from "./server.ts";

/** Exports each raw file as the file of the same place in `mountpoints`; the daemon's process. */
export async function exportWithQemu(
  stage: Stage,
  raws: readonly string[],
  mountpoints: readonly string[],
  direct: "on" | "off",
): Promise<number> {
  const command = ["qemu-storage-daemon"];
  for (const [index, raw] of raws.entries()) {
    const mountpoint = mountpoints[index]!;
    writeFileSync(mountpoint, "");
    const node = `driver=file,node-name=image${index},filename=${raw},cache.direct=${direct},aio=io_uring`;
    const fuse = `type=fuse,id=fuse${index},node-name=image${index},mountpoint=${mountpoint},writable=on`;
    command.push("--blockdev", node, "--export", fuse);
  }
  const server = startServer(command, stage.pin, join(stage.directory, "log"));
  for (const mountpoint of mountpoints) stage.cleanup.add(() => detach(mountpoint));
  stage.cleanup.add(() => stopServer(server));
  await untilReady(server, () => mountpoints.every(isMounted));
  return server.pid;
}

export const qemu: Server = {
  name: "qemu",
  about: "qemu-storage-daemon, FUSE export of a raw file, cache.direct=off, aio=io_uring",
  start: async (stage) => {
    const raw = join(stage.directory, "raw");
    const mountpoint = join(stage.directory, "image");
    writeImage(raw, stage.imageBytes);
    return { file: mountpoint, pid: await exportWithQemu(stage, [raw], [mountpoint], "off") };
  },
};
