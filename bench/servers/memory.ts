/** The C yardstick: a file in memory on libfuse 3, compiled here. */
import { execFileSync } from "node:child_process";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { detach, isMounted } from "../support/mounts.ts";
import { startServer, stopServer, Unavailable, untilReady } from "../support/process.ts";
import { PROJECT_ROOT } from "../support/project.ts";
import type { RunningServer, Server, Stage } from "./server.ts";

const SOURCE = join(PROJECT_ROOT, "bench/peers/memory-server.c");

function compile(program: string): void {
  try {
    const flags = execFileSync("pkg-config", ["--cflags", "--libs", "fuse3"], { encoding: "utf8", stdio: "pipe" });
    execFileSync("gcc", ["-O2", SOURCE, ...flags.trim().split(/\s+/), "-o", program], { stdio: "pipe" });
  } catch (error) {
    const reason = (error as Error).message.split("\n").slice(0, 2).join(" ");
    throw new Unavailable(`needs gcc, pkg-config and libfuse3-dev: ${reason}`);
  }
}

async function start(stage: Stage, way: "copy" | "splice"): Promise<RunningServer> {
  const mountpoint = join(stage.directory, "mount");
  const program = join(stage.directory, "memory-server");
  mkdirSync(mountpoint);
  compile(program);
  const command = [program, mountpoint, String(stage.imageBytes), way];
  const server = startServer(command, stage.pin, join(stage.directory, "log"));
  stage.cleanup.add(() => detach(mountpoint));
  stage.cleanup.add(() => stopServer(server));
  await untilReady(server, () => isMounted(mountpoint));
  return { file: join(mountpoint, "image"), pid: server.pid };
}

export const memoryCopy: Server = {
  name: "c",
  about: "C, libfuse 3, one thread, file in memory; requests by read()",
  start: (stage) => start(stage, "copy"),
};

export const memorySplice: Server = {
  name: "c-splice",
  about: "the same; requests by splice(), libfuse's other way, with one copy fewer",
  start: (stage) => start(stage, "splice"),
};
