/** Clients in processes of their own, that can be killed. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { MARK } from "../support/marks.ts";
import { testScope } from "../support/scope.ts";

/** Size of the image that a stamper writes to. */
export const STAMPED_BYTES = 64 * 2 ** 20;

const STAMPER = fileURLToPath(new URL("../../dist/test/mount/stamper.js", import.meta.url));

/**
 * Starts a client on `image`, which may flush each of its writes; resolves when its first write was answered. The result kills it and
 * waits for its end.
 */
export async function startStamper(
  image: string,
  log: string,
  seed: number,
  ...flushing: ["fsync" | "dsync"] | []
): Promise<() => Promise<void>> {
  const child = spawn(process.execPath, [STAMPER, image, log, String(STAMPED_BYTES), String(seed), ...flushing], {
    stdio: ["ignore", "pipe", "ignore"],
    env: { ...process.env, ...MARK, UV_THREADPOOL_SIZE: "8" },
  });
  const end = once(child, "exit");
  const kill = async (): Promise<void> => {
    child.kill("SIGKILL");
    await end;
  };
  testScope(kill);
  await Promise.race([once(child.stdout, "data"), end]);
  if (child.exitCode !== null) throw new Error(`the client ended with ${child.exitCode}`);
  return kill;
}
