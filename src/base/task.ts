/**
 * Sequences of asynchronous steps without promises: the engine's loop never returns to Node's, and the simulator needs every
 * step in its own hands. A task is a generator that yields waits; a wait is given a function to call with its result.
 */
export type Wait = (resume: (value: unknown) => void) => void;
export type Task<T> = Generator<Wait, T>;

/** Runs `task`; `done` gets its result, perhaps before this returns. */
export function runTask<T>(task: Task<T>, done: (result: T) => void): void {
  let running = false;
  let value: unknown;
  let ready = true;
  const step = (): void => {
    if (running) return;
    running = true;
    while (ready) {
      ready = false;
      const turn = task.next(value);
      if (turn.done === true) {
        done(turn.value);
        return;
      }
      turn.value((outcome) => {
        value = outcome;
        ready = true;
        step();
      });
    }
    running = false;
  };
  step();
}

/** Waits for something that calls back with one number: `yield* result((done) => io.fsync(fd, true, done))`. */
export function* result(begin: (done: (value: number) => void) => void): Task<number> {
  return (yield (resume) => begin(resume)) as number;
}

/** Waits for something that calls back without a value. */
export function* event(begin: (done: () => void) => void): Task<void> {
  yield (resume) => begin(() => resume(undefined));
}
