/**
 * Vitest's end of run for `suite.ts` and for people: the reason of every skipped test, the command that reruns every failed
 * one, and the counts in a file.
 */
import { relative } from "node:path";
import type { Reporter, SerializedError, TestCase, TestModule } from "vitest/node";
import { addToTally } from "./tally.ts";

export default class EndOfRun implements Reporter {
  onTestRunEnd(modules: readonly TestModule[], errors: readonly SerializedError[]): void {
    const tests = modules.flatMap((module) => [...module.children.allTests()]);
    const inState = (state: string): TestCase[] => tests.filter((test) => test.result().state === state);
    const [failed, skipped] = [inState("failed"), inState("skipped")];
    // A file that does not load has no tests to fail, and is a failure all the same.
    const unloaded = modules.filter((module) => module.state() === "failed" && module.errors().length > 0);
    for (const test of skipped)
      console.log(`skipped: ${where(test)}: ${test.result().state === "skipped" ? reason(test) : ""}`);
    for (const test of failed) console.log(`rerun: npm test -- ${fileOf(test.module)} -t ${quoted(test.fullName)}`);
    for (const module of unloaded) console.log(`rerun: npm test -- ${fileOf(module)}`);
    addToTally({
      passed: inState("passed").length,
      failed: failed.length + unloaded.length + errors.length,
      skipped: skipped.length,
    });
  }
}

const fileOf = (module: TestModule): string => relative(process.cwd(), module.moduleId);
const where = (test: TestCase): string => `${fileOf(test.module)} > ${test.fullName}`;

function reason(test: TestCase): string {
  const result = test.result();
  return (result.state === "skipped" && result.note) || "no reason given";
}

/** As a pattern of `-t`, in single quotes for the shell. */
const quoted = (name: string): string =>
  `'^${name
    .replaceAll(" > ", " ")
    .replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
    .replaceAll("'", "'\\''")}$'`;
