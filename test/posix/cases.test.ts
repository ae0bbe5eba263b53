/**
 * The cases of `cases-*.c`, on a plain directory and on the mount: what they print must be the same. By hand:
 * gcc -o cases test/posix/cases*.c && ./cases EMPTY_DIRECTORY CASE
 */
import { chmodSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { beforeAll, describe, expect, test } from "vitest";
import { type Daemon, mountHypegear } from "../support/daemon.ts";
import { hasCommand, need } from "../support/need.ts";
import { run, succeed } from "../support/run.ts";
import { blockScope } from "../support/scope.ts";
import { scratchDirectory } from "../support/scratch.ts";
import { compile, SOURCES } from "./compile.ts";

const sources = readdirSync(SOURCES).filter((name) => /^cases.*\.c$/.test(name));
const cases = sources.flatMap((source) =>
  [...readFileSync(join(SOURCES, source), "utf8").matchAll(/^CASE\((\w+)\)/gm)].map((match) => match[1]!),
);

describe("on the mount as on a plain directory:", () => {
  const scope = blockScope();
  let daemon: Daemon;
  let plain: string;
  let program: string;

  beforeAll(async () => {
    if (process.getuid?.() !== 0 || !hasCommand("gcc")) return; // each test says so
    program = await compile(scope, ...sources);
    plain = scratchDirectory("plain", scope);
    daemon = await mountHypegear({ args: ["--allow-other", "--cache-size", "16M"], scope });
    for (const directory of [plain, daemon.backing]) chmodSync(directory, 0o755);
  });

  test.for(cases)("%s", async (name, context) => {
    need(context, "root", "/dev/fuse", "gcc");
    const [wanted, found] = [await see(plain, name), await see(daemon.mountpoint, name)];
    expect(wanted).not.toBe("");
    expect(found).toBe(wanted);
    expect(readFileSync(join(daemon.mountpoint, ".hypegear", "stats.json"), "utf8")).toContain("version");
  });

  async function see(parent: string, name: string): Promise<string> {
    const directory = join(parent, name);
    await succeed("mkdir", [directory]);
    const { code, stdout, stderr } = await run(program, [directory, name]);
    return code === 0 && stderr === "" ? stdout : `exit code ${code}\n${stdout}${stderr}`;
  }
});
