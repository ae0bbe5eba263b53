/** The demo's place in the world: one temporary directory with a backing directory and a mountpoint, and its undoing. */
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { runCommand } from "./command.ts";
import { projectRoot } from "./kernel.ts";

export class Scratch {
  readonly root: string;
  readonly backing: string;
  readonly mountpoint: string;
  private readonly hypegear = join(projectRoot(), "bin", "hypegear");

  constructor() {
    this.root = mkdtempSync(join(tmpdir(), "hypegear-demo-"));
    this.backing = join(this.root, "images");
    this.mountpoint = join(this.root, "mount");
    mkdirSync(this.backing);
    mkdirSync(this.mountpoint);
  }

  async mount(options: readonly string[]): Promise<void> {
    await runCommand(this.hypegear, ["mount", ...options, this.backing, this.mountpoint]);
  }

  /** Returns when all data is home. */
  async umount(): Promise<void> {
    await runCommand(this.hypegear, ["umount", this.mountpoint]);
  }

  /**
   * Unmounts if need be and removes the directory. A mount that cannot be unmounted is detached: what it still holds
   * is the demo's own and not worth keeping.
   */
  async remove(): Promise<void> {
    if (this.isMounted()) await this.umount().catch((error: Error) => this.detach(error.message));
    rmSync(this.root, { recursive: true });
  }

  private async detach(why: string): Promise<void> {
    process.stderr.write(`hypegear: demo: ${this.mountpoint}: ${why}: the mount is detached, its data given up\n`);
    await runCommand("umount", ["--lazy", this.mountpoint]);
  }

  private isMounted(): boolean {
    const lines = readFileSync("/proc/self/mountinfo", "utf8").split("\n");
    return lines.some((line) => line.split(" ")[4] === this.mountpoint);
  }
}
