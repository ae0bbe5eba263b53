import { readFileSync } from "node:fs";

/** This program's version: package.json lies beside `src/` and, built, beside `dist/`. */
export const version: string = ["../../package.json", "../../../package.json"]
  .map((path) => readVersion(new URL(path, import.meta.url)))
  .find((found) => found !== undefined)!;

function readVersion(url: URL): string | undefined {
  try {
    return (JSON.parse(readFileSync(url, "utf8")) as { version: string }).version;
  } catch {
    return undefined;
  }
}
