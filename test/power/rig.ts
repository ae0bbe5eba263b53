/**
 * A filesystem on a device whose every write and flush is logged, without device-mapper: a loop device on a file that
 * qemu-storage-daemon exports through FUSE, over a `blklogwrites` node. All its files lie on a tmpfs of the rig's own.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, statSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { MARK } from "../support/marks.ts";
import { mounts, unmountLazily } from "../support/mounts.ts";
import { run, succeed } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";

export type Kind = "ext4" | "xfs";

/** What a test with it needs. */
export const RIG_NEEDS = ["root", "/dev/fuse", "qemu-storage-daemon", "losetup", "mkfs.ext4", "mkfs.xfs"] as const;

const MiB = 2 ** 20;
/** The smallest that mkfs.xfs makes; ext4 with a journal as small as it may be, so that it wraps. */
const DEVICE_BYTES: Record<Kind, number> = { ext4: 64 * MiB, xfs: 300 * MiB };
const MKFS: Record<Kind, readonly string[]> = {
  ext4: ["-q", "-b", "4096", "-J", "size=4", "-E", "lazy_itable_init=0,lazy_journal_init=0"],
  xfs: ["-q"],
};
export const MOUNT_OPTIONS: Record<Kind, string> = { ext4: "loop", xfs: "loop,nouuid" };

/** A directory on a tmpfs that goes with the test. */
export async function memoryDirectory(): Promise<string> {
  const directory = scratchDirectory("power");
  await succeed("mount", ["-t", "tmpfs", "-o", "size=6g,mode=0700", "tmpfs", directory]);
  testScope(() => unmountLazily(directory));
  return directory;
}

/** Makes an empty filesystem in `file`. */
export async function makeFilesystem(kind: Kind, file: string): Promise<void> {
  writeFileSync(file, "");
  truncateSync(file, DEVICE_BYTES[kind]);
  await succeed(`mkfs.${kind}`, [...MKFS[kind], file]);
}

export const copySparse = (from: string, to: string): Promise<string> =>
  succeed("cp", ["--sparse=always", "--reflink=never", from, to]);

export class LoggedFilesystem {
  /** Where it is mounted. */
  readonly directory: string;
  readonly log: string;
  private readonly exported: string;
  private readonly daemon: ChildProcess;

  private constructor(place: string, daemon: ChildProcess) {
    this.directory = join(place, "mounted");
    this.log = join(place, "log");
    this.exported = join(place, "exported");
    this.daemon = daemon;
  }

  /** Mounts a copy of the filesystem in `base`; its files go into the directory `place`. */
  static async make(base: string, kind: Kind, place: string): Promise<LoggedFilesystem> {
    const device = join(place, "device");
    await copySparse(base, device);
    for (const name of ["log", "exported"]) writeFileSync(join(place, name), "");
    mkdirSync(join(place, "mounted"));
    const filesystem = new LoggedFilesystem(place, exportLogged(device, place));
    testScope(() => filesystem.stop());
    const { size } = statSync(device);
    await waitFor("the export", () => statSync(filesystem.exported).size === size);
    await succeed("mount", ["-o", MOUNT_OPTIONS[kind], filesystem.exported, filesystem.directory]);
    return filesystem;
  }

  /** Unmounts and ends everything; the log is complete then. */
  async stop(): Promise<void> {
    if (mounts().some(({ mountpoint }) => mountpoint === this.directory)) {
      const { code } = await run("umount", [this.directory]);
      if (code !== 0) await unmountLazily(this.directory);
    }
    if (this.daemon.exitCode === null && this.daemon.signalCode === null) {
      const end = once(this.daemon, "exit");
      this.daemon.kill("SIGTERM");
      await end;
    }
    await unmountLazily(this.exported);
  }
}

/** Flushes of the two files themselves would only take time: no power is cut here. */
function exportLogged(device: string, place: string): ChildProcess {
  const file = (name: string, path: string): string =>
    `driver=file,node-name=${name},filename=${path},cache.no-flush=on`;
  const options = {
    device: ["--blockdev", file("device", device)],
    log: ["--blockdev", file("log", join(place, "log"))],
    logged: ["--blockdev", "driver=blklogwrites,node-name=logged,file=device,log=log"],
    exported: ["--export", `type=fuse,id=export,node-name=logged,mountpoint=${join(place, "exported")},writable=on`],
  };
  const child = spawn("qemu-storage-daemon", Object.values(options).flat(), {
    stdio: ["ignore", "ignore", "inherit"],
    env: { ...process.env, ...MARK },
  });
  child.on("error", () => {}); // the export that does not come tells it
  return child;
}
