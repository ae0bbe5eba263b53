/** One bug that could be in the program, as a change of its compiled text. */
export interface Mutant {
  /** What the program then does wrong, as a sentence. */
  bug: string;
  /** The source file. Its compiled form is what is changed: types and `!` are gone there, names and order are the same. */
  file: string;
  /** Text that is there exactly once; white space in it stands for any, so it may run over lines. */
  find: string;
  replace: string;
  /** Seeds, from 1 on, of which one at least must find the bug: some ten times as many as it takes on average. */
  seeds: number;
  /** What all of their histories have: images are copied in (`grows`), or devices hang (`stalls`). */
  histories?: "grows" | "stalls";
}

/** `text` with the mutant's change. Throws when the mutant does not fit it. */
export function mutated(text: string, { file, find, replace }: Mutant): string {
  const words = find.trim().split(/\s+/);
  const pattern = new RegExp(words.map(literal).join("\\s+"), "g");
  const places = [...text.matchAll(pattern)];
  if (places.length !== 1) {
    const what = places.length === 0 ? "is nowhere" : `is ${places.length} times`;
    throw new Error(`the mutant no longer fits: ${what} in ${file}: ${find}`);
  }
  return text.replace(pattern, () => replace);
}

const literal = (text: string): string => text.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&");
