import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { RULES } from "./tidy/rules.ts";
import { projectFiles, Source } from "./tidy/source.ts";

const files = projectFiles(fileURLToPath(new URL("..", import.meta.url)));

describe("the project keeps its rules", () => {
  test.for(Object.keys(RULES) as (keyof typeof RULES)[])("%s", (name) => {
    expect(files.flatMap((file) => RULES[name](file))).toEqual([]);
  });

  test("and they see its files", () => {
    const paths = files.map(({ path }) => path);
    for (const path of ["src/base/units.ts", "test/tidy.test.ts", "package-lock.json", "bin/setup"])
      expect(paths).toContain(path);
  });
});

const lines = (count: number): string => "\n".repeat(count - 1);

/** Puts together what must not stand in this file. */
const spelled = (...parts: string[]): string => parts.join("");

/** For each rule: files that it must refuse, and their nearest neighbours that it must let pass. */
const EXAMPLES: Record<keyof typeof RULES, { bad: [string, string][]; good: [string, string][] }> = {
  layers: {
    bad: [
      ["src/base/a.ts", 'import { b } from "../sys/b.ts";'],
      ["src/cache/a.ts", 'export * from "../volume/b.ts";'],
      ["src/fs/a.ts", 'await import("../cli/b.ts");'],
      ["src/engine/a.ts", 'import type { B } from "../keeper/b.ts";'],
      ["src/cli/a.ts", 'import { b } from "../../test/b.ts";'],
      ["src/nowhere/a.ts", ""],
      ["src/a.ts", ""],
    ],
    good: [
      ["src/sys/a.ts", 'import { b } from "../base/b.ts"; import { c } from "./c.ts"; import fs from "node:fs";'],
      ["test/base/a.ts", 'import { b } from "../../src/cli/b.ts";'],
    ],
  },
  fileLength: { bad: [["src/base/a.ts", `a${lines(401)}b`]], good: [["src/base/a.ts", `a${lines(400)}b`]] },
  functionLength: {
    bad: [
      ["src/base/a.ts", `function a() {${lines(71)}}`],
      ["src/base/a.ts", `class A { a() {${lines(71)}} }`],
      ["src/base/a.ts", `const a = () => {${lines(71)}}`],
      ["test/a.test.ts", `test("a", () => {${lines(71)}})`],
    ],
    good: [
      ["src/base/a.ts", `function a() {${lines(70)}}`],
      ["test/a.test.ts", `describe("a", () => {${lines(71)}})`],
    ],
  },
  koffi: {
    bad: [
      ["src/cache/a.ts", 'import koffi from "koffi";'],
      ["src/fuse/a.ts", 'const k = await import("koffi");'],
    ],
    good: [["src/sys/a.ts", 'import koffi from "koffi";']],
  },
  time: {
    bad: [
      ["src/cache/a.ts", "Date.now();"],
      ["src/cache/a.ts", "new Date();"],
      ["src/cli/a.ts", "performance.now();"],
      ["src/cli/a.ts", "process.hrtime.bigint();"],
      ["src/cli/a.ts", 'import { performance as p } from "node:perf_hooks";'],
    ],
    good: [
      ["src/base/clock.ts", "Date.now();"],
      ["src/cli/a.ts", "new Date(0); clock.nowUs();"],
      ["bench/a.ts", "performance.now();"],
    ],
  },
  random: {
    bad: [["test/a.ts", "Math.random();"]],
    good: [
      ["src/base/random.ts", "Math.random();"],
      ["src/sim/a.ts", "random.next(); Math.max(1);"],
    ],
  },
  leftOut: {
    bad: [
      ["test/a.test.ts", 'test.only("a", f);'],
      ["test/a.test.ts", 'describe.only("a", f);'],
      ["test/a.test.ts", 'test.each([1]).only("a", f);'],
      ["test/a.test.ts", 'test.only.for([1])("a", f);'],
      ["test/a.test.ts", 'it.skip("a", f);'],
      ["test/a.test.ts", 'test.skipIf(true)("a", f);'],
      ["test/a.test.ts", 'test.todo("a");'],
      ["test/a.test.ts", "context.skip();"],
      ["test/a.test.ts", "context.skip(slow);"],
    ],
    good: [
      ["test/a.test.ts", 'test("a", (context) => context.skip(!fast, "no fast disk"));'],
      ["test/a.test.ts", 'context.skip("no disk");'],
    ],
  },
  unfinished: {
    bad: [["src/base/a.ts", spelled("// TO", "DO: later")]],
    good: [["src/base/a.ts", "// nothing to do"]],
  },
  machine: {
    bad: [
      ["README.md", spelled("cd /wo", "rk/main")],
      ["package-lock.json", spelled('"resol', 'ved": "x"')],
    ],
    good: [["README.md", "cd /srv/images; /network/"]],
  },
};

describe("a rule catches its breach and nothing else", () => {
  test.for(Object.keys(RULES) as (keyof typeof RULES)[])("%s", (name) => {
    const findings = ([path, text]: [string, string]): number => RULES[name](new Source(path, text)).length;
    for (const bad of EXAMPLES[name].bad) expect([bad, findings(bad)]).toEqual([bad, 1]);
    for (const good of EXAMPLES[name].good) expect([good, findings(good)]).toEqual([good, 0]);
  });
});
