/** How the code of this project is laid out, as rules that a test applies. Each gives what is wrong, one line a finding. */
import { posix } from "node:path";
import type { Node, Source } from "./source.ts";

export type Rule = (file: Source) => string[];

/** The folders of src/: a file imports from its own or from an earlier one. */
export const LAYERS = [
  "base",
  "sys",
  "stats",
  "device",
  "cache",
  "policy",
  "journal",
  "writeback",
  "volume",
  "fuse",
  "fs",
  "engine",
  "keeper",
  "sim",
  "cli",
] as const;

const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 70;

const layerOf = (path: string): number => (LAYERS as readonly string[]).indexOf(path.split("/")[1] ?? "");

/** In src/, imports go down or stay. */
const layers: Rule = (file) => {
  if (!isIn(file, "src")) return [];
  if (layerOf(file.path) < 0) return [`${file.path}: lies in no layer: the layers are ${LAYERS.join(", ")}`];
  return file
    .imports()
    .filter(({ module }) => module.startsWith("."))
    .map(({ module, line }) => ({ target: posix.join(posix.dirname(file.path), module), line }))
    .filter(({ target }) => !target.startsWith("src/") || layerOf(target) < 0 || layerOf(target) > layerOf(file.path))
    .map(({ target, line }) => `${file.path}:${line}: imports ${target}, which is not in its own or an earlier layer`);
};

const fileLength: Rule = (file) => {
  const lines = file.text.trimEnd().split("\n").length;
  return file.isTypeScript && lines > FILE_LINES_MAX ? [`${file.path}: ${lines} lines: at most ${FILE_LINES_MAX}`] : [];
};

const FUNCTIONS = new Set(["FunctionDeclaration", "FunctionExpression", "ArrowFunctionExpression"]);

/** A `describe` block is a list of tests, not a function. */
const functionLength: Rule = (file) => {
  if (!file.isTypeScript) return [];
  const blocks = new Set(
    calls(file)
      .filter(({ callee }) => /^(describe|suite)\b/.test(callee))
      .flatMap(({ node }) => node["arguments"] as Node[]),
  );
  return file
    .nodes()
    .filter((node) => FUNCTIONS.has(node.type) && !blocks.has(node))
    .map((node) => ({ first: file.lineOf(node.start), last: file.lineOf(node.end) }))
    .filter(({ first, last }) => last - first + 1 > FUNCTION_LINES_MAX)
    .map(
      ({ first, last }) =>
        `${file.path}:${first}: a function of ${last - first + 1} lines: at most ${FUNCTION_LINES_MAX}`,
    );
};

/** System calls have one home. */
const koffi: Rule = (file) => {
  if (!file.isTypeScript || file.path.startsWith("src/sys/")) return [];
  const found = file.imports().filter(({ module }) => module === "koffi" || module.startsWith("koffi/"));
  return found.map(({ line }) => `${file.path}:${line}: imports koffi: only src/sys/ does`);
};

const CLOCKS = /^(Date\.now|Date|performance\.\w+|process\.hrtime(\.bigint)?|process\.uptime)$/;

/** Time comes in as a parameter (`Clock`), or a simulation could not bring its own. */
const time: Rule = (file) => {
  if (!isIn(file, "src") || file.path === "src/base/clock.ts") return [];
  const read = calls(file).filter(
    ({ callee, node }) => CLOCKS.test(callee) && !(callee === "Date" && hasArguments(node)),
  );
  const modules = file.imports().filter(({ module }) => /^(node:)?perf_hooks$/.test(module));
  return [
    ...read.map(({ callee, line }) => `${file.path}:${line}: ${callee} reads the time: only src/base/clock.ts does`),
    ...modules.map(({ line }) => `${file.path}:${line}: imports perf_hooks: only src/base/clock.ts reads the time`),
  ];
};

/** Random numbers come from a seed, so that a failure can be run again. */
const random: Rule = (file) => {
  if (!file.isTypeScript || file.path === "src/base/random.ts") return [];
  const found = calls(file).filter(({ callee }) => callee === "Math.random");
  return found.map(({ line }) => `${file.path}:${line}: Math.random has no seed: only src/base/random.ts may use it`);
};

/** No test is left out in silence. */
const leftOut: Rule = (file) => {
  if (!isIn(file, "test")) return [];
  return calls(file).flatMap(({ callee, line, node }) => {
    if (/^(test|it|describe|suite)\b.*\.only(\.\w+)*$/.test(callee))
      return [`${file.path}:${line}: ${callee} leaves out all other tests`];
    if (/^(test|it|describe|suite)\b.*\.(skip|skipIf|runIf|todo)(\.\w+)*$/.test(callee)) {
      return [`${file.path}:${line}: ${callee} gives no reason: use need(), or context.skip(condition, reason)`];
    }
    const silent = /\w\.skip$/.test(callee) && !givesReason(node);
    return silent ? [`${file.path}:${line}: ${callee} gives no reason: context.skip(condition, reason)`] : [];
  });
};

const givesReason = (node: Node): boolean => {
  const given = node["arguments"] as Node[];
  return given.length > 1 || given.some(({ type, value }) => type === "TemplateLiteral" || typeof value === "string");
};

const unfinished: Rule = (file) => {
  if (!file.isTypeScript) return [];
  const found = file.comments().filter(({ value }) => /\b(TODO|FIXME|XXX)\b/.test(value));
  return found.map(({ start }) => `${file.path}:${file.lineOf(start)}: unfinished: finish it, or file it`);
};

/** Written apart, so that this file keeps its own rule. */
const FOREIGN = [
  ["/wo", "rk/"],
  ["/ho", "me/[a-z]"],
  ["regis", "try\\.npmjs"],
  ["deb\\.deb", "ian\\.org"],
  ["proxy\\.go", "lang"],
  ['"resol', 'ved":'],
].map((parts) => new RegExp(parts.join("")));

/** The repository works on any machine and with any mirror. */
const machine: Rule = (file) =>
  file.text.split("\n").flatMap((line, index) => {
    const found = FOREIGN.map((pattern) => pattern.exec(line)?.[0]).find((match) => match !== undefined);
    return found === undefined ? [] : [`${file.path}:${index + 1}: names a path or host of one machine: ${found}`];
  });

export const RULES = { layers, fileLength, functionLength, koffi, time, random, leftOut, unfinished, machine } as const;

const isIn = (file: Source, folder: string): boolean => file.isTypeScript && file.path.startsWith(`${folder}/`);

const hasArguments = (node: Node): boolean => (node["arguments"] as Node[]).length > 0;

interface Call {
  /** As written, without arguments: `Date.now`, `test.each(...).only` is `test.each().only`. */
  callee: string;
  line: number;
  node: Node;
}

/** All calls and `new`s whose callee is a plain chain of names. */
function calls(file: Source): Call[] {
  return file
    .nodes()
    .filter(({ type }) => type === "CallExpression" || type === "NewExpression")
    .map((node) => ({ callee: chain(node["callee"] as Node), line: file.lineOf(node.start), node }));
}

function chain(node: Node): string {
  if (node.type === "Identifier") return String(node["name"]);
  if (node.type === "CallExpression") return `${chain(node["callee"] as Node)}()`;
  if (node.type !== "MemberExpression") return "";
  const property = node["property"] as Node;
  return `${chain(node["object"] as Node)}.${String(property["name"] ?? property["value"])}`;
}
