/** `hypegear demo`: the main job from start to end on a scratch directory, with a real guest, saying what it does. */
import { copyFileSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Failure } from "../../base/errors.ts";
import { bootGuest, type GuestReport } from "./guest.ts";
import { buildInitramfs, programPath } from "./initramfs.ts";
import { findKernel, type Kernel } from "./kernel.ts";
import { checkFilesystem, checkSums, reportedSums } from "./proof.ts";
import { Scratch } from "./scratch.ts";
import { firstBoot, secondBoot } from "./script.ts";

const IMAGE_BYTES = 256 * 2 ** 20;
/** Small enough for a container's 64 MiB of /dev/shm. */
const CACHE_SIZE = "48M";

/** Runs the demo; its exit status: 0 when all was proved right, 1 when it failed or was interrupted (a line says why). */
export async function demo(): Promise<number> {
  const interrupt = new AbortController();
  const stop = (): void => interrupt.abort();
  const signals = ["SIGINT", "SIGTERM", "SIGHUP"] as const;
  for (const signal of signals) process.on(signal, stop);
  process.stdout.on("error", stop); // its reader is gone (`| head`): what was begun must be undone all the same
  try {
    await perform(interrupt.signal);
    return 0;
  } catch (error) {
    if (!interrupt.signal.aborted && !(error instanceof Failure)) throw error;
    process.stderr.write(`hypegear: demo: ${interrupt.signal.aborted ? "interrupted" : (error as Failure).message}\n`);
    return 1;
  } finally {
    for (const signal of signals) process.off(signal, stop);
  }
}

async function perform(interrupt: AbortSignal): Promise<void> {
  const kernel = findKernel();
  programPath("qemu-system-x86_64", "qemu-system-x86");
  programPath("debugfs", "e2fsprogs");
  const boots = [firstBoot(4096), secondBoot()].map((script) => buildInitramfs(kernel, script)) as [Buffer, Buffer];
  const scratch = new Scratch(); // only now: nothing is made before everything needed was found
  try {
    await show(scratch, kernel, boots, interrupt);
  } finally {
    await scratch.remove();
  }
  say("the scratch directory is removed");
}

/** The steps, with the initramfs of each boot. What they change `scratch` puts back, whatever happens. */
async function show(
  scratch: Scratch,
  kernel: Kernel,
  [first, second]: [Buffer, Buffer],
  interrupt: AbortSignal,
): Promise<void> {
  say(`a directory with an empty disk image of 256 MiB: ${scratch.backing}`);
  writeFileSync(join(scratch.backing, "disk.img"), "");
  truncateSync(join(scratch.backing, "disk.img"), IMAGE_BYTES);

  say(`hypegear mount --cache-size ${CACHE_SIZE} ${scratch.backing} ${scratch.mountpoint}`);
  await scratch.mount(["--cache-size", CACHE_SIZE]);
  interrupt.throwIfAborted();

  say(`a guest (Linux ${kernel.version}, emulated by QEMU) boots from the mount, cache=none,aio=native`);
  copyFileSync(kernel.image, join(scratch.mountpoint, "vmlinuz"));
  await boot(scratch, first, interrupt);
  say("it boots again");
  const report = await boot(scratch, second, interrupt);

  say(`cat ${join(scratch.mountpoint, ".hypegear", "stats")}`);
  process.stdout.write(readFileSync(join(scratch.mountpoint, ".hypegear", "stats"), "utf8"));

  say(`hypegear umount ${scratch.mountpoint}`);
  await scratch.umount();
  interrupt.throwIfAborted();
  await prove(join(scratch.backing, "disk.img"), report);
}

/** The initramfs goes into the mount beside kernel and image, so the guest comes from there as a whole. */
async function boot(scratch: Scratch, initramfs: Buffer, interrupt: AbortSignal): Promise<GuestReport> {
  const inMount = (name: string): string => join(scratch.mountpoint, name);
  writeFileSync(inMount("initramfs"), initramfs);
  return bootGuest({
    kernel: inMount("vmlinuz"),
    initramfs: inMount("initramfs"),
    disks: [{ path: inMount("disk.img"), format: "raw", cache: "none", aio: "native" }],
    signal: interrupt,
    onFact: (name, value) => {
      if (name === "did") process.stdout.write(`    guest: ${value}\n`);
    },
  });
}

async function prove(image: string, report: GuestReport): Promise<void> {
  await checkFilesystem(image);
  say("e2fsck finds the image in the directory clean");
  const sums = reportedSums(report);
  await checkSums(image, sums);
  say(`the checksums of all ${sums.size} files in it are those that the guest reported`);
}

const say = (what: string): void => {
  process.stdout.write(`demo: ${what}\n`);
};
