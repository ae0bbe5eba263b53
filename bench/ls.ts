/** `ls -lR` of a tree of many files, through the mount and of a plain directory of the same make. */
import { spawn } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Options } from "./options.ts";
import { mountHypegear } from "./servers/hypegear.ts";
import type { Cleanup } from "./support/cleanup.ts";
import { pinned } from "./support/process.ts";
import { ratioSpread, type Spread, spreadOf } from "./support/spread.ts";
import { spreadText } from "./support/table.ts";

const FILES_PER_FOLDER = 100;
/** A listing is short beside the other figures, so it can afford more rounds. */
const ROUNDS_PER_ROUND = 3;

export interface LsResult {
  files: number;
  mountMs: number[];
  plainMs: number[];
}

function makeTree(root: string, files: number): void {
  for (let file = 0; file < files; file += 1) {
    const folder = join(root, `folder-${Math.floor(file / FILES_PER_FOLDER)}`);
    if (file % FILES_PER_FOLDER === 0) mkdirSync(folder);
    writeFileSync(join(folder, `image-${file}`), "x");
  }
}

/** Milliseconds of one listing. */
function list(root: string, pin: number | null): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const [file, ...args] = pinned(["ls", "-lR", root], pin);
    const child = spawn(file!, args, { stdio: ["ignore", "ignore", "inherit"] });
    child.on("error", reject);
    child.on("close", (code) => {
      if (code === 0) resolve(performance.now() - started);
      else reject(new Error(`ls -lR ${root}: exit ${code}`));
    });
  });
}

/** Lists both trees in turn; the first listing of each only warms up. */
export async function measureLs(options: Options, scratch: string, cleanup: Cleanup): Promise<LsResult> {
  const directory = join(scratch, "ls");
  const [plain, backing, mountpoint] = ["plain", "backing", "mount"].map((name) => join(directory, name)) as [
    string,
    string,
    string,
  ];
  for (const path of [directory, plain, backing, mountpoint]) mkdirSync(path);
  makeTree(plain, options.files);
  makeTree(backing, options.files);
  await mountHypegear({ ...options, directory, cleanup }, backing, mountpoint);
  const result: LsResult = { files: options.files, mountMs: [], plainMs: [] };
  await list(mountpoint, options.pin);
  await list(plain, options.pin);
  for (let round = 0; round < options.rounds * ROUNDS_PER_ROUND; round += 1) {
    result.mountMs.push(await list(mountpoint, options.pin));
    result.plainMs.push(await list(plain, options.pin));
  }
  return result;
}

export const lsRatio = ({ mountMs, plainMs }: LsResult): Spread | null => ratioSpread(mountMs, plainMs);

export function lsReport(result: LsResult): string {
  const ms = (values: number[]) => `${spreadText(spreadOf(values))} ms`;
  return (
    `ls -lR of ${result.files} files\n  mount ${ms(result.mountMs)}, plain directory ${ms(result.plainMs)}\n` +
    `  mount / plain ${spreadText(lsRatio(result))}; issue 2 (Idle cost) asks for at most 2\n`
  );
}
