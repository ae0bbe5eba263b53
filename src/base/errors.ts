/** The program's documented exit codes: a number, once given a meaning, keeps it. */
export const ExitCode = { done: 0, failed: 1, usage: 2, refused: 3, forbidden: 4 } as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/**
 * An operating failure that a person must be told of: one line with what failed, on what, why, and what to do.
 * Bugs are assertions (`assert.ts`), not this.
 */
export class Failure extends Error {
  override name = "Failure";
  readonly exitCode: ExitCode;

  constructor(message: string, exitCode: ExitCode = ExitCode.failed, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.exitCode = exitCode;
  }
}
