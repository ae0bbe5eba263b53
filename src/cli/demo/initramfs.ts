/** The guest's whole user space, in a few megabytes: busybox, mkfs.ext4, e2fsck, the virtio modules and one script to run. */
import { execFileSync } from "node:child_process";
import { accessSync, constants, existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, delimiter, join } from "node:path";
import { Failure } from "../../base/errors.ts";
import { Cpio } from "./cpio.ts";
import type { Kernel } from "./kernel.ts";

/** In the order in which they must be loaded; ext4 is built into Debian's cloud kernel. */
const MODULES = ["virtio_ring", "virtio", "virtio_pci_modern_dev", "virtio_pci_legacy_dev", "virtio_pci", "virtio_blk"];

/**
 * Runs as process 1. Facts go to the serial console as lines `@@ NAME VALUE`; the last is `status`, the script's exit
 * status. Power goes off without a sync and without an unmount: what the script did not make durable itself was not.
 */
const INIT = `#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin:/sbin
mount -t devtmpfs dev /dev
mount -t proc proc /proc
mount -t sysfs sys /sys
for module in ${MODULES.join(" ")}; do
  [ ! -e /modules/$module.ko ] || insmod /modules/$module.ko
done
sh -eu /script 2>&1
printf '\\n@@ status %s\\n' $?
poweroff -n -f
`;

/** What every script can call: `fact NAME VALUE...` reports to the host. */
const PRELUDE = `fact() { name=$1; shift; printf '\\n@@ %s %s\\n' "$name" "$*"; }
`;

/** The initramfs, as bytes, that runs the POSIX shell `script` (under `sh -eu`) once on `kernel` and powers off. */
export function buildInitramfs(kernel: Kernel, script: string): Buffer {
  const archive = new Cpio();
  for (const folder of ["dev", "proc", "sys", "mnt", "tmp"]) archive.folder(folder);
  archive.characterDevice("dev/console", 5, 1);
  archive.file("init", INIT, 0o755).file("script", PRELUDE + script);
  archive.file("bin/busybox", readFileSync(staticBusybox()), 0o755);
  for (const module of MODULES) addModule(archive, kernel, module);
  addPrograms(archive, ["mkfs.ext4", "e2fsck"]);
  return archive.bytes();
}

/** A module that is not there as a file is built into the kernel. */
function addModule(archive: Cpio, kernel: Kernel, module: string): void {
  const files = readdirSync(kernel.modules, { recursive: true, encoding: "utf8" });
  const file = files.find((path) => [`${module}.ko`, `${module}.ko.xz`].includes(basename(path)));
  if (file === undefined) return;
  const path = join(kernel.modules, file);
  const content = path.endsWith(".xz") ? execFileSync("xz", ["-dc", path], { maxBuffer: 2 ** 26 }) : readFileSync(path);
  archive.file(`modules/${module}.ko`, content);
}

/** The host's own programs, with the shared libraries that `ldd` names. */
function addPrograms(archive: Cpio, names: string[]): void {
  const libraries = new Set<string>();
  for (const name of names) {
    const path = programPath(name, "e2fsprogs");
    archive.file(`sbin/${name}`, readFileSync(path), 0o755);
    const listing = execFileSync("ldd", [path], { encoding: "utf8" });
    for (const [, library] of listing.matchAll(/(\/\S+) \(0x/g)) libraries.add(library!);
  }
  for (const library of libraries) archive.file(library.slice(1), readFileSync(library), 0o755);
  const config = "/etc/mke2fs.conf";
  if (existsSync(config)) archive.file(config.slice(1), readFileSync(config));
}

function staticBusybox(): string {
  const path = programPath("busybox", "busybox-static");
  const interpreter = readFileSync(path).subarray(0, 4096).includes("/ld-linux");
  if (interpreter)
    throw new Failure(
      `${path} is not statically linked, a guest without libraries cannot run it: apt-get install busybox-static`,
    );
  return path;
}

/** Full path of the program `name`; a Failure names the Debian package that brings it. */
export function programPath(name: string, debianPackage: string): string {
  const folders = [...(process.env["PATH"] ?? "").split(delimiter), "/usr/sbin", "/sbin", "/usr/bin", "/bin"];
  const path = folders.map((folder) => join(folder, name)).find(isExecutable);
  if (path === undefined)
    throw new Failure(`${name} is missing, the guest cannot run without it: apt-get install ${debianPackage}`);
  return path;
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
