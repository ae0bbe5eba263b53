/** The tools that people use on image files, in the mount, beside the same commands in a plain directory. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { losePower, recovered } from "../power/recovery.ts";
import { Random } from "../sim/random.ts";
import { mountHypegear } from "../support/daemon.ts";
import { need } from "../support/need.ts";
import { succeed } from "../support/run.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { inventory, sourceDirectory } from "./contents.ts";

interface Case {
  what: string;
  needs?: string[];
  /** Run by `sh -eu` in the mount and in the plain directory; $SOURCE has the files of `contents.ts`. */
  script: string;
  /** Must succeed right after `script`, and again at home after the unmount. */
  check?: string;
}

const CASES: Case[] = [
  {
    what: "cp --sparse=always",
    script: `cp --sparse=always "$SOURCE/islands" copy`,
    check: `cmp "$SOURCE/islands" copy; test $(($(stat -c %b copy) * 512)) -lt 8388608`,
  },
  {
    what: "cp, within and of a tree",
    script: `cp "$SOURCE/odd" one; cp one two; cp --sparse=never "$SOURCE/islands" full; cp full again; cp -a "$SOURCE/tree" .`,
    check: `cmp one two; cmp full again; cmp "$SOURCE/islands" again`,
  },
  {
    what: "rsync",
    needs: ["rsync"],
    script: `rsync -aH --sparse "$SOURCE/" to/; cp "$SOURCE/odd" to/tree/below/file3; rm to/odd; rsync -aH --sparse "$SOURCE/" to/`,
    check: `test -z "$(rsync -aHci --dry-run "$SOURCE/" to/)"`,
  },
  {
    what: "rsync --inplace and --append",
    needs: ["rsync"],
    script: `
      cp "$SOURCE/islands" changed; cp "$SOURCE/odd" shorter; truncate -s 1234567 shorter
      rsync --inplace --no-whole-file "$SOURCE/odd" changed
      rsync --append "$SOURCE/odd" shorter`,
    check: `cmp "$SOURCE/odd" changed; cmp "$SOURCE/odd" shorter`,
  },
  {
    what: "dd, in place, sparse, direct and appending",
    script: `
      dd if="$SOURCE/odd" of=file bs=7777 conv=fsync
      dd if="$SOURCE/islands" of=file bs=1000 skip=1049 seek=3 count=500 conv=notrunc,fsync
      dd if="$SOURCE/islands" of=sparse bs=64k conv=sparse
      dd if="$SOURCE/islands" of=direct bs=1M oflag=direct conv=fsync
      dd if="$SOURCE/odd" of=direct bs=512 count=301 seek=1001 oflag=direct,dsync conv=notrunc
      dd if="$SOURCE/odd" of=file bs=12345 count=3 oflag=append conv=notrunc`,
    check: `test "$(stat -c %s file)" = 3037036`,
  },
  {
    what: "truncate, down and up",
    script: `
      cp "$SOURCE/odd" file; truncate -s 10001 file; truncate -s 2M file; truncate -s 2000001 file; printf end >> file
      cp "$SOURCE/odd" emptied; : > emptied; truncate -s 100000 emptied
      cp "$SOURCE/odd" regrown; truncate -s 0 regrown; cat "$SOURCE/odd" >> regrown; truncate -s -1 regrown
      truncate -s 5G huge; printf end >> huge; truncate -s +4097 huge`,
    check: `cmp -n 3000000 "$SOURCE/odd" regrown; cmp -n 100000 emptied /dev/zero; test "$(stat -c %s huge)" = 5368713220`,
  },
  {
    what: "fallocate, punching and zeroing",
    needs: ["fallocate"],
    script: `
      cp "$SOURCE/odd" file; fallocate -p -o 4000 -l 10000 file; fallocate -z -o 1000000 -l 70001 file
      fallocate -n -l 4M file; fallocate -l 5000000 file
      cp "$SOURCE/odd" cut; fallocate -p -o 0 -l 2990001 cut; printf new | dd of=cut bs=1 seek=5000 conv=notrunc,fsync
      cp --sparse=never "$SOURCE/islands" dug; fallocate -d dug`,
    check: `cmp "$SOURCE/islands" dug; test "$(stat -c %s file)" = 5000000; test $(($(stat -c %b dug) * 512)) -lt 8388608`,
  },
  {
    what: "tar, mv, ln, install and sed -i",
    needs: ["tar"],
    script: `
      tar -C "$SOURCE" -cS . | tar -xSp
      mv islands tree/moved; mv -f odd tree/below/file0; ln tree/moved hard; rm tree/moved
      install -m 0640 "$SOURCE/odd" installed; printf 'one\\ntwo\\n' > text; sed -i 's/two/three/' text`,
    check: `cmp "$SOURCE/islands" hard; test "$(cat text)" = "$(printf 'one\\nthree')"`,
  },
];

describe("in the mount, and at home after the unmount, as in a plain directory:", () => {
  test.for(CASES)("$what", { timeout: 120_000 }, async ({ needs = [], script, check = "true" }, context) => {
    need(context, "root", ...needs);
    const plain = scratchDirectory("plain");
    const env = { SOURCE: sourceDirectory() };
    const daemon = await mountHypegear({ args: ["--cache-size", "16M"] });
    await succeed("sh", ["-euc", `${script}\n${check}`], { cwd: plain, env });

    await succeed("sh", ["-euc", `${script}\n${check}`], { cwd: daemon.mountpoint, env });

    const wanted = await inventory(plain);
    expect(await inventory(daemon.mountpoint)).toBe(wanted);
    expect(await daemon.umount()).toMatchObject({ code: 0 });
    expect(await inventory(daemon.backing)).toBe(wanted);
    await succeed("sh", ["-euc", check], { cwd: daemon.backing, env });
  });
});

test("when dd conv=fsync returns, its bytes outlive a power cut", async (context) => {
  need(context, "root");
  const source = sourceDirectory();
  const daemon = await mountHypegear();
  const bytes = readFileSync(join(source, "odd"));
  const wanted = Buffer.alloc(3_000_001);
  for (const [seek, size] of [
    [0, 65536],
    [3, 65536],
    [1, 1000],
    [2999, 333],
    [0, 3_000_001],
    [7, 500],
  ] as const) {
    const to = [`of=${join(daemon.mountpoint, "file")}`, `seek=${seek}`, `bs=${size}`, "count=1", "conv=notrunc,fsync"];
    await succeed("dd", [`if=${join(source, "odd")}`, ...to]);
    bytes.copy(wanted, seek * size, 0, size);
  }
  await losePower(daemon);
  expect(await recovered(daemon.backing, "once", new Random(1))).toEqual([]);
  expect(readFileSync(join(daemon.backing, "file")).equals(wanted)).toBe(true);
});
