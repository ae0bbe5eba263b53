/** Clients that use one image in different ways at once see the newest write, wherever it lies: cache, in flight, or home. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { expect, test } from "vitest";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { run } from "../support/run.ts";
import { digests } from "./fio.ts";
import { scaled } from "./scale.ts";

const ROUNDS = scaled(1500);

/** Writes one way and reads all ways, at random places of 32 MiB, and compares with a copy that it keeps itself. */
const CLIENT = `
import mmap, os, random, sys
path, rounds, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
size = 32 << 20
rng = random.Random(seed)
wanted = bytearray(size)
buffered = os.open(path, os.O_RDWR | os.O_CREAT)
os.ftruncate(buffered, size)
direct = os.open(path, os.O_RDWR | os.O_DIRECT)
mapped = mmap.mmap(buffered, size)
page = mmap.mmap(-1, 1 << 18)

def expect(found, at, length, how, wrote):
    if bytes(found) != wanted[at:at + length]:
        bad = next(i for i in range(length) if found[i] != wanted[at + i])
        sys.exit(f"after a {wrote} write, a {how} read of {length} at {at} differs at {at + bad}: {found[bad]} for {wanted[at + bad]}")

def direct_read(at, length):
    os.preadv(direct, [memoryview(page)[:length]], at)
    return page[:length]

for turn in range(rounds):
    how = rng.choice(["direct", "direct", "buffered", "mapped"])
    unit = 512 if how == "direct" else 1
    length = max(unit, rng.randrange(1 << rng.randrange(10, 19)) // unit * unit)
    at = rng.randrange((size - length) // unit) * unit
    data = rng.randbytes(length)
    if how == "direct":
        page[:length] = data
        os.pwritev(direct, [memoryview(page)[:length]], at)
    elif how == "buffered":
        os.pwrite(buffered, data, at)
    else:
        mapped[at:at + length] = data
    wanted[at:at + length] = data
    low, high = at // 512 * 512, min(size, (at + length + 511) // 512 * 512)
    high = min(high, low + len(page))
    for reader in rng.sample(["direct", "buffered", "mapped"], 2):
        if reader == "direct": expect(direct_read(low, high - low), low, high - low, "direct", how)
        elif reader == "buffered": expect(os.pread(buffered, length, at), at, length, "buffered", how)
        else: expect(mapped[at:at + length], at, length, "mapped", how)
    if rng.randrange(100) == 0: os.fsync(buffered)
mapped.flush()
expect(os.pread(buffered, size, 0), 0, size, "whole", "last")
`;

test.for([["on"], ["off"]] as const)(
  "direct, buffered and mapped reads see the newest write, --cache %s",
  async ([cache], context) => {
    need(context, "root", "/dev/fuse", "python3");
    const daemon = await mountHypegear({ args: ["--cache-size", "8M", "--cache", cache] });
    const client = run("python3", ["-c", CLIENT, join(daemon.mountpoint, "image"), String(ROUNDS), "1"], {
      timeout: 120_000,
    });
    for (let kills = 0; kills < 3; kills++) {
      await sleep(700);
      await daemon.kill("engine");
    }

    expect(await client).toMatchObject({ code: 0, stderr: "" });

    const shown = await digests(daemon.mountpoint, ["image"]);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(await digests(daemon.backing, ["image"])).toEqual(shown);
  },
);
