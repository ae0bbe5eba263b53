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
import type { Server } from "./server.ts";

export const qemu: Server = {
  name: "qemu",
  about: "qemu-storage-daemon, FUSE export of a raw file, cache.direct=off, aio=io_uring",
  start: async (stage) => {
    const raw = join(stage.directory, "raw");
    const mountpoint = join(stage.directory, "image");
    writeImage(raw, stage.imageBytes);
    writeFileSync(mountpoint, "");
    const node = `driver=file,node-name=image,filename=${raw},cache.direct=off,aio=io_uring`;
    const fuse = `type=fuse,id=fuse,node-name=image,mountpoint=${mountpoint},writable=on`;
    const command = ["qemu-storage-daemon", "--blockdev", node, "--export", fuse];
    const server = startServer(command, stage.pin, join(stage.directory, "log"));
    stage.cleanup.add(() => detach(mountpoint));
    stage.cleanup.add(() => stopServer(server));
    await untilReady(server, () => isMounted(mountpoint));
    return { file: mountpoint, pid: server.pid };
  },
};
