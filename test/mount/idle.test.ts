/** An idle mount costs nothing. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { fio } from "./fio.ts";

const IDLE_MS = 5000;
/** V8 collects garbage once more, some seconds after a process has fallen quiet: then a look is taken anew, so often at most. */
const LOOKS = 4;

/** Clock ticks (10 ms) of CPU that a process has used. */
function ticks(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, "latin1");
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return Number(fields[11]) + Number(fields[12]);
}

test.for(["uring", "threads"])(
  "with --io %s, keeper and engine use no CPU when nobody asks for anything",
  async (io, context) => {
    need(context, "root", "/dev/fuse", "fio");
    const daemon = await mountHypegear({ args: ["--cache-size", "64M", "--io", io] });
    await fio({ file: join(daemon.mountpoint, "image"), engine: "libaio", direct: true, mib: 64 });
    const both = [daemon.keeperPid, await daemon.enginePid()];
    expect(daemon.stats().dirty.blocks).toBeGreaterThan(0); // dirty data alone is no reason to wake up
    let used = [0, 0];
    for (let look = 0; look < LOOKS; look++) {
      const before = both.map(ticks);
      await sleep(IDLE_MS);
      used = both.map((pid, i) => ticks(pid) - before[i]!);
      if (used[0]! + used[1]! <= 1) return;
    }
    expect.fail(`keeper and engine used ${used.join(" and ")} clock ticks in ${IDLE_MS} ms`);
  },
);
