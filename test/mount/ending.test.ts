/** The ways in which a mount ends under load: nothing accepted is lost, and nothing is left behind. */
import { existsSync, readFileSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { isHypegearMount } from "../support/mounts.ts";
import { need } from "../support/need.ts";
import { kill } from "../support/processes.ts";
import { run } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { waitFor } from "../support/wait.ts";
import { STAMPED_BYTES, startStamper } from "./clients.ts";
import { check } from "./stamps.ts";

interface Ending {
  how: string;
  /** With the client still writing. */
  begin: (daemon: Daemon) => Promise<void>;
  /** What it does once the client is gone; default: nothing. */
  end?: (daemon: Daemon) => Promise<void>;
}

const signal =
  (...signals: NodeJS.Signals[]) =>
  async (daemon: Daemon): Promise<void> => {
    for (const name of signals) {
      kill(daemon.keeperPid, name);
      await sleep(150);
    }
  };

const ENDINGS: Ending[] = [
  {
    how: "umount, refused while the client writes",
    begin: async (daemon) => {
      const busy = await daemon.cli("umount");
      expect(busy).toMatchObject({ code: 1, stderr: expect.stringMatching(/still used by/) as string });
      expect(isHypegearMount(daemon.mountpoint)).toBe(true);
    },
    end: async (daemon) => expect(await daemon.cli("umount")).toMatchObject({ code: 0 }),
  },
  {
    how: "umount -l of the system",
    begin: async (daemon) => expect(await run("umount", ["-l", daemon.mountpoint])).toMatchObject({ code: 0 }),
  },
  {
    how: "plain umount of the system",
    begin: async () => {},
    end: async (daemon) => expect(await run("umount", [daemon.mountpoint])).toMatchObject({ code: 0 }),
  },
  { how: "SIGTERM", begin: signal("SIGTERM") },
  { how: "SIGINT", begin: signal("SIGINT") },
  { how: "SIGTERM twice, and SIGINT", begin: signal("SIGTERM", "SIGTERM", "SIGINT") },
  {
    how: "SIGTERM, and the engine killed in its drain",
    begin: async (daemon) => {
      await signal("SIGTERM")(daemon);
      await daemon.kill("engine");
    },
  },
];

test.for(ENDINGS)("$how: nothing is lost, nothing is left", async ({ begin, end }, context) => {
  need(context, "root", "/dev/fuse");
  const log = join(scratchDirectory("log"), "log");
  const daemon = await mountHypegear({ args: ["--cache-size", "64M", "--rate-limit", "40M"] });
  const home = join(daemon.backing, "image");
  writeFileSync(home, "");
  truncateSync(home, STAMPED_BYTES);
  const killClient = await startStamper(join(daemon.mountpoint, "image"), log, 7);
  await sleep(700);

  await begin(daemon);
  await sleep(300);
  await killClient();
  await end?.(daemon);

  expect(await daemon.ended).toMatchObject({ code: 0 });
  const { promised, wrong } = check(readFileSync(home), readFileSync(log, "utf8"));
  expect(wrong.slice(0, 5)).toEqual([]);
  expect(promised).toBeGreaterThan(10);
  expect(isHypegearMount(daemon.mountpoint)).toBe(false);
  expect(existsSync(join(daemon.backing, ".hypegear"))).toBe(false);
  expect(existsSync(daemon.slab!)).toBe(false);
});

test("a file held open through umount -l is served until its close, and then all is home", async (context) => {
  need(context, "root", "/dev/fuse");
  const daemon = await mountHypegear();
  const image = join(daemon.mountpoint, "image");
  const script = `exec 3<>"$1"; echo one >&3; umount -l "$2"; sleep 1; echo two >&3; exec 3>&-`;
  expect(await run("sh", ["-euc", script, "sh", image, daemon.mountpoint])).toMatchObject({ code: 0 });

  expect(await daemon.ended).toMatchObject({ code: 0 });
  await waitFor("the state to be gone", () => !existsSync(join(daemon.backing, ".hypegear")));
  expect(readFileSync(join(daemon.backing, "image"), "utf8")).toBe("one\ntwo\n");
});
