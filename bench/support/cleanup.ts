/** What must be undone, last first, whatever happens: an error, Ctrl-C, a SIGTERM. */

type Undo = () => void | Promise<void>;

export class Cleanup {
  private readonly interruption = new AbortController();
  private readonly pending: Undo[] = [];

  add(undo: Undo): void {
    this.pending.push(undo);
  }

  /** Aborted when a signal ends the run: clients must let go of the mounts before the servers are stopped. */
  get interrupted(): AbortSignal {
    return this.interruption.signal;
  }

  interrupt(): void {
    this.interruption.abort();
  }

  /** Undoes everything; a failing step is reported and the rest still run. */
  async run(): Promise<void> {
    for (let undo = this.pending.pop(); undo !== undefined; undo = this.pending.pop()) {
      try {
        await undo();
      } catch (error) {
        process.stderr.write(`bench: clean-up: ${String(error)}\n`);
      }
    }
  }
}

/** Runs `body` with a Cleanup that has been run when this returns, also after SIGINT and SIGTERM (exit code 128 + n). */
export async function withCleanup<T>(body: (cleanup: Cleanup) => Promise<T>): Promise<T> {
  const cleanup = new Cleanup();
  const interrupted = (code: number) => () => {
    process.stderr.write("bench: interrupted, cleaning up\n");
    cleanup.interrupt();
    void cleanup.run().then(() => process.exit(code));
  };
  const onInterrupt = interrupted(130);
  const onTerminate = interrupted(143);
  process.once("SIGINT", onInterrupt);
  process.once("SIGTERM", onTerminate);
  try {
    return await body(cleanup);
  } finally {
    await cleanup.run();
    process.off("SIGINT", onInterrupt);
    process.off("SIGTERM", onTerminate);
  }
}
