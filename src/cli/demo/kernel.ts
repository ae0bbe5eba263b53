/** Where the guest's kernel comes from: Debian's cloud kernel, unpacked (not installed) by `bin/setup`. */
import { existsSync, readdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { Failure } from "../../base/errors.ts";

export interface Kernel {
  /** Path of the bootable image. */
  readonly image: string;
  /** `lib/modules/<version>` of the same kernel. */
  readonly modules: string;
  /** For example `6.1.0-56-cloud-amd64`. */
  readonly version: string;
}

const IMAGE_PREFIX = "vmlinuz-";

/** The newest kernel under HYPEGEAR_KERNEL_DIR, else under `.cache/kernel` of this project; a Failure says how to get one. */
export function findKernel(): Kernel {
  const root = process.env["HYPEGEAR_KERNEL_DIR"] ?? join(projectRoot(), ".cache", "kernel");
  const boot = join(root, "boot");
  const versions = existsSync(boot) ? readdirSync(boot).filter((name) => name.startsWith(IMAGE_PREFIX)) : [];
  const newest = versions.sort(byVersion).at(-1)?.slice(IMAGE_PREFIX.length);
  if (newest === undefined)
    throw new Failure(`no guest kernel in ${boot}: run bin/setup, it unpacks Debian's cloud kernel there`);
  const modules = ["lib", "usr/lib"].map((lib) => join(root, lib, "modules", newest)).find((path) => existsSync(path));
  if (modules === undefined)
    throw new Failure(`no modules of kernel ${newest} under ${root}: remove ${root} and run bin/setup again`);
  return { image: join(boot, IMAGE_PREFIX + newest), modules, version: newest };
}

const numeric = new Intl.Collator("en", { numeric: true });
const byVersion = (a: string, b: string): number => numeric.compare(a, b);

/** The folder with this project's package.json, whether this file runs from `src/` or from `dist/`. */
export function projectRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, "package.json"))) {
    const parent = dirname(folder);
    if (parent === folder)
      throw new Failure(`no package.json above ${fileURLToPath(import.meta.url)}: run from the project's folder`);
    folder = parent;
  }
  return folder;
}
