import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { findKernel } from "../../../src/cli/demo/kernel.ts";
import { scratchDirectory } from "../../support/scratch.ts";

afterEach(() => vi.unstubAllEnvs());

/** A folder as bin/setup leaves it, with a kernel of each version; modules for those alone that are in `complete`. */
function kernels(versions: string[], complete = versions): string {
  const root = scratchDirectory("kernels");
  mkdirSync(join(root, "boot"));
  for (const version of versions) writeFileSync(join(root, "boot", `vmlinuz-${version}`), "");
  for (const version of complete) mkdirSync(join(root, "lib", "modules", version), { recursive: true });
  vi.stubEnv("HYPEGEAR_KERNEL_DIR", root);
  return root;
}

test("the newest kernel is taken, by number and not by letter", () => {
  const root = kernels(["6.1.0-9-cloud-amd64", "6.1.0-56-cloud-amd64", "5.10.0-99-cloud-amd64"]);
  expect(findKernel()).toEqual({
    version: "6.1.0-56-cloud-amd64",
    image: join(root, "boot", "vmlinuz-6.1.0-56-cloud-amd64"),
    modules: join(root, "lib", "modules", "6.1.0-56-cloud-amd64"),
  });
});

test("no kernel is a line that says where it was looked for and what to run", () => {
  const root = kernels([]);
  expect(() => findKernel()).toThrow(`no guest kernel in ${root}/boot: run bin/setup`);
});

test("a kernel without its modules is named, with what to do", () => {
  const root = kernels(["6.1.0-9-cloud-amd64"], []);
  expect(() => findKernel()).toThrow(
    `no modules of kernel 6.1.0-9-cloud-amd64 under ${root}: remove ${root} and run bin/setup again`,
  );
});
