/** A file of this project as the tidy rules see it: its text, and for TypeScript its syntax tree. */
import { readdirSync, readFileSync } from "node:fs";
import { join, relative } from "node:path";
import { type ParseResult, parseSync } from "oxc-parser";

/** A syntax node: what all rules need of it. */
export interface Node {
  type: string;
  start: number;
  end: number;
  [field: string]: unknown;
}

export class Source {
  /** From the project's folder, with forward slashes. */
  readonly path: string;
  readonly text: string;
  private parsed: ParseResult | undefined;
  private flat: Node[] | undefined;
  private starts: number[] | undefined;

  constructor(path: string, text: string) {
    this.path = path;
    this.text = text;
  }

  private get syntax(): ParseResult {
    this.parsed ??= parseSync(this.path, this.text);
    if (this.parsed.errors.length > 0) throw new Error(`${this.path}: ${this.parsed.errors[0]!.message}`);
    return this.parsed;
  }

  get isTypeScript(): boolean {
    return this.path.endsWith(".ts");
  }

  /** The line of the character at `offset`, from 1. */
  lineOf(offset: number): number {
    this.starts ??= [...this.text.matchAll(/^/gm)].map(({ index }) => index);
    let [low, high] = [0, this.starts.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.starts[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Every module named by an import, an export-from or an `import()`, with its line. */
  imports(): { module: string; line: number }[] {
    const found: { module: string; line: number }[] = [];
    for (const node of this.nodes()) {
      const source = node["source"] as Node | null | undefined;
      if (source?.type === "Literal") found.push({ module: String(source["value"]), line: this.lineOf(node.start) });
    }
    return found;
  }

  /** All syntax nodes, the outer before the inner. */
  nodes(): Node[] {
    this.flat ??= [...walk(this.syntax.program)];
    return this.flat;
  }

  comments(): { value: string; start: number }[] {
    return this.syntax.comments;
  }
}

function* walk(value: unknown): Generator<Node> {
  if (value === null || typeof value !== "object") return;
  if (typeof (value as Node).type === "string") yield value as Node;
  for (const inner of Object.values(value)) yield* walk(inner);
}

const NOT_OURS = new Set(["node_modules", "dist", "dist.new", ".git", ".cache"]);

/** Every file of the project that is, or may become, part of the repository. */
export function projectFiles(root: string): Source[] {
  const found: Source[] = [];
  for (const entry of readdirSync(root, { withFileTypes: true })) {
    if (NOT_OURS.has(entry.name) || entry.name.endsWith(".log")) continue;
    collect(root, join(root, entry.name), entry.isDirectory(), found);
  }
  return found;
}

function collect(root: string, path: string, isDirectory: boolean, found: Source[]): void {
  if (!isDirectory) {
    found.push(new Source(relative(root, path), readFileSync(path, "latin1")));
    return;
  }
  for (const entry of readdirSync(path, { withFileTypes: true })) {
    if (entry.isDirectory() || entry.isFile()) collect(root, join(path, entry.name), entry.isDirectory(), found);
  }
}
