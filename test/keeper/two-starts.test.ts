/** Two mounts that begin at one moment at one mountpoint: one of them serves, the other is refused and leaves nothing. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, chownSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { expect, test } from "vitest";
import { ExitCode } from "../../src/base/errors.ts";
import { HYPEGEAR } from "../support/daemon.ts";
import { mounts } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { start } from "../support/run.ts";
import { testScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { removeSlab } from "../support/slabs.ts";
import { waitFor } from "../support/wait.ts";
import { leftovers, places, slabOf, startKeeper, stopped } from "./stubbed.ts";

const NOBODY = 65534;

test("the one that comes later is refused, also when it was sooner to look", async (context) => {
  need(context, "root");
  const at = places();
  const late = { ...places(), mountpoint: at.mountpoint };
  const args = ["mount", late.backing, late.mountpoint, "--foreground", "--cache-size", "512M"];
  const { child, outcome } = start(HYPEGEAR, args);
  testScope(() => child.kill("SIGKILL"));
  await waitFor("its journal", () => existsSync(join(late.backing, ".hypegear/journal")));
  child.kill("SIGSTOP"); // it has looked at the mountpoint, and has its slab still to make
  const first = await startKeeper(at, "serve");
  child.kill("SIGCONT");
  expect(await outcome).toMatchObject({
    code: ExitCode.refused,
    stderr: expect.stringContaining(`${at.mountpoint}: already mounted by hypegear, from ${at.backing}`) as string,
  });
  expect(leftovers(late)).toEqual([`mount on ${at.mountpoint}`]);
  expect(mounts().filter(({ mountpoint }) => mountpoint === at.mountpoint)).toHaveLength(1);
  expect((await stat(at.mountpoint)).isDirectory()).toBe(true);
  await stopped(at, first);
});

/** Instead of fusermount3: says that a keeper is about to mount, and goes on when it is told to. */
const HELD = `#!/bin/sh
gate=$(dirname "$0")
touch "$gate/reached"
while [ ! -e "$gate/open" ]; do sleep 0.05; done
exec /usr/bin/fusermount3 "$@"
`;
/** An ordinary user may open the device, and let the others in: else fusermount3 could not look at a mount to mount over it. */
const PREPARE = `mount -t tmpfs none /mnt; mknod -m 666 /mnt/fuse c 10 229; mount --bind /mnt/fuse /dev/fuse
echo user_allow_other >/mnt/fuse.conf; mount --bind /mnt/fuse.conf /etc/fuse.conf`;

/** Directories of an ordinary user, and how to run the program as that user in one mount namespace. */
async function ordinary(): Promise<{ root: string; mountpoint: string; backings: [string, string]; as: string[] }> {
  const root = scratchDirectory("ordinary");
  const [mountpoint, ...backings] = ["mnt", "first", "second"].map((name) => join(root, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [mountpoint, ...backings]) mkdirSync(path);
  for (const path of [root, mountpoint, ...backings]) chownSync(path, NOBODY, NOBODY);
  const slabs = backings.map((backing) => dirname(slabOf(backing)));
  testScope(() => Promise.all(slabs.map(removeSlab)));
  const namespace = spawn("unshare", ["--mount", "sh", "-ec", `${PREPARE}; echo ready; exec sleep 600`], {
    stdio: ["ignore", "pipe", "ignore"],
  });
  testScope(() => namespace.kill("SIGKILL"));
  await once(namespace.stdout, "data");
  const user = ["setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups", HYPEGEAR];
  return { root, mountpoint, backings, as: [`--target=${namespace.pid}`, "--mount", ...user] };
}

test("the second to mount takes its mount back when both looked before either had mounted", async (context) => {
  need(context, "root", "unshare", "nsenter", "setpriv", "/usr/bin/fusermount3");
  const { root, mountpoint, backings, as } = await ordinary();
  writeFileSync(join(root, "fusermount3"), HELD);
  chmodSync(join(root, "fusermount3"), 0o755);
  const [first, second] = backings.map((backing, order) => {
    const env = order === 0 ? {} : { PATH: `${root}:${process.env["PATH"]}` };
    const options = ["--foreground", "--allow-other", "--cache-size", "8M", "--journal-size", "16M"];
    const args = [...as, "mount", backing, mountpoint, ...options];
    return () => {
      const started = start("nsenter", args, { env });
      testScope(() => started.child.kill("SIGKILL"));
      return started;
    };
  });
  const held = second!();
  await waitFor("the second to be about to mount", () => existsSync(join(root, "reached")));
  const serving = first!();
  await once(serving.child.stdout!, "data");
  writeFileSync(join(root, "open"), "");
  expect(await held.outcome).toMatchObject({
    code: ExitCode.refused,
    stderr: expect.stringContaining(`${mountpoint}: already mounted by hypegear, from ${backings[0]}`) as string,
  });
  const seen = readFileSync(`/proc/${serving.child.pid}/mounts`, "utf8").split("\n");
  expect(seen.filter((line) => line.includes(` ${mountpoint} `))).toHaveLength(1);
  serving.child.kill("SIGTERM");
  expect(await serving.outcome).toMatchObject({ code: ExitCode.done });
  for (const backing of backings) expect(existsSync(join(backing, ".hypegear"))).toBe(false);
});
