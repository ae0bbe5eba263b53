/** What every test with a guest needs of the host. */
import type { TestContext } from "vitest";
import { findKernel } from "../../src/cli/demo/kernel.ts";
import { need } from "../support/need.ts";

/** Skips the running test, with the reason, where no guest can run, or `more` (as for `need`) is missing. */
export function needGuests(context: TestContext, ...more: string[]): void {
  need(context, "qemu-system-x86_64", "qemu-img", "/bin/busybox", "mkfs.ext4", "e2fsck", "debugfs", ...more);
  try {
    findKernel();
  } catch (error) {
    context.skip(true, (error as Error).message);
  }
}
