import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { expect, type TestContext, test } from "vitest";
import { checkFilesystem, checkSums, type Sums, sumOfFile } from "../../../src/cli/demo/proof.ts";
import { need } from "../../support/need.ts";
import { succeed } from "../../support/run.ts";
import { scratchDirectory } from "../../support/scratch.ts";

const CONTENT = Buffer.alloc(10_000, "what the guest wrote. ");

/** An ext4 image whose `data/` holds two files, and their checksums. */
async function imageWithFiles(context: TestContext): Promise<{ image: string; sums: Sums }> {
  need(context, "mkfs.ext4", "e2fsck", "debugfs");
  const folder = scratchDirectory("proof");
  const data = join(folder, "tree", "data");
  mkdirSync(join(data, "below"), { recursive: true });
  writeFileSync(join(data, "one"), CONTENT);
  writeFileSync(join(data, "below", "two"), "2");
  const image = join(folder, "image");
  await succeed("mkfs.ext4", ["-q", "-d", join(folder, "tree"), image, "8M"]);
  const names = ["one", "below/two"];
  return { image, sums: new Map(names.map((name) => [`data/${name}`, sumOfFile(join(data, name))])) };
}

function overwrite(image: string, offset: number, bytes: Buffer): void {
  const file = openSync(image, "r+");
  writeSync(file, bytes, 0, bytes.length, offset);
  closeSync(file);
}

test("an image that holds what was reported passes", async (context) => {
  const { image, sums } = await imageWithFiles(context);
  await checkFilesystem(image);
  await checkSums(image, sums);
});

test("one changed bit in a file's data fails, with the file's name", async (context) => {
  const { image, sums } = await imageWithFiles(context);
  const place = readFileSync(image).indexOf(CONTENT.subarray(0, 1024));
  overwrite(image, place + 77, Buffer.from([CONTENT[77]! ^ 1]));
  await expect(checkSums(image, sums)).rejects.toThrow(/does not hold what the guest wrote: data\/one is/);
});

test("a file that was reported and is not there fails, and so does one that was not reported", async (context) => {
  const { image, sums } = await imageWithFiles(context);
  await expect(checkSums(image, new Map([...sums, ["three", "0"]]))).rejects.toThrow("three is no such file");
  const without = new Map([...sums].slice(0, 1));
  await expect(checkSums(image, without)).rejects.toThrow("the guest reported no such file");
});

test("a damaged filesystem fails, with what e2fsck said", async (context) => {
  const { image } = await imageWithFiles(context);
  overwrite(image, 8192, Buffer.alloc(16384, 0xff)); // group descriptors and bitmaps
  await expect(checkFilesystem(image)).rejects.toThrow(/e2fsck -fn [^]*status/);
});
