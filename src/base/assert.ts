/** Assertions stay on in production: a bug found late is data lost. */
export class AssertionFailure extends Error {
  override name = "AssertionFailure";
}

/** Throws when `condition` is false. `why` says what the program relies on, in plain words. */
export function assert(condition: boolean, why: string): asserts condition {
  if (!condition) throw new AssertionFailure(why);
}
