/**
 * An image on a device that can be made to fail, to hang, or to be slow: a file that nbdfuse makes of an nbdkit with filters,
 * bound over a file of the backing directory.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createConnection } from "node:net";
import { join } from "node:path";
import { MARK } from "../support/marks.ts";
import { unmountLazily } from "../support/mounts.ts";
import { succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";

/** What a test with it needs. */
export const FAULTY_NEEDS = ["root", "/dev/fuse", "nbdkit", "nbdfuse"] as const;

export class FaultyImage {
  /** In the backing directory. */
  readonly path: string;
  private readonly scratch: string;

  private constructor(path: string, scratch: string) {
    this.path = path;
    this.scratch = scratch;
  }

  /** An image at `path`, which must not exist yet. `rate`: bytes a second that it reads and writes at most. */
  static async make(path: string, bytes: number, rate?: number): Promise<FaultyImage> {
    const image = new FaultyImage(path, scratchDirectory("faulty"));
    await image.serve(bytes, rate);
    writeFileSync(path, "");
    await succeed("mount", ["--bind", join(image.scratch, "disk", "nbd"), path]);
    testScope(() => unmountLazily(path));
    return image;
  }

  private async serve(bytes: number, rate: number | undefined): Promise<void> {
    const socket = join(this.scratch, "socket");
    const disk = join(this.scratch, "disk");
    mkdirSync(disk);
    const limit = rate === undefined ? [] : [`rate=${rate * 8}`]; // bits
    start("nbdkit", [
      "--foreground",
      "--unix",
      socket,
      "--filter=pause",
      "--filter=error",
      ...(rate === undefined ? [] : ["--filter=rate"]),
      "memory",
      String(bytes),
      `pause-control=${this.control}`,
      "error=EIO",
      "error-rate=100%",
      `error-file=${this.trigger}`,
      ...limit,
    ]);
    await waitFor("nbdkit", () => existsSync(socket));
    start("nbdfuse", [disk, `nbd+unix:///?socket=${socket}`]);
    testScope(() => unmountLazily(disk));
    await waitFor("nbdfuse", () => statSync(join(disk, "nbd"), { throwIfNoEntry: false })?.size === bytes);
  }

  /** From now on every read and write fails with EIO. */
  fail(): void {
    writeFileSync(this.trigger, "");
  }

  heal(): void {
    rmSync(this.trigger, { force: true });
  }

  /** From now on nothing is answered. It goes on before anything else is cleaned up: processes that wait for it cannot be killed. */
  hang(): Promise<void> {
    testScope(() => this.resume());
    return this.tell("p");
  }

  resume(): Promise<void> {
    return this.tell("r");
  }

  private get trigger(): string {
    return join(this.scratch, "fails");
  }

  private get control(): string {
    return join(this.scratch, "pause");
  }

  private async tell(command: "p" | "r"): Promise<void> {
    const socket = createConnection(this.control);
    socket.write(command);
    await once(socket, "data");
    socket.destroy();
  }
}

/** A server that lives until its test ends. */
function start(command: string, args: readonly string[]): ChildProcess {
  const child = spawn(command, args, { stdio: "ignore", env: { ...process.env, ...MARK } });
  const end = once(child, "exit");
  testScope(async () => {
    child.kill("SIGKILL");
    await end;
  });
  return child;
}
