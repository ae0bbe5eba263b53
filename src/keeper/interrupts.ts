/** SIGTERM and SIGINT before a mount serves: noted, and asked for between the steps of a start, so that what was made is undone. */
import { setImmediate as turn } from "node:timers/promises";
import { Failure } from "../base/errors.ts";

const SIGNALS = ["SIGTERM", "SIGINT"] as const;

export class Interrupts {
  private readonly backing: string;
  private signal: NodeJS.Signals | undefined;
  private readonly note = (signal: NodeJS.Signals): void => {
    this.signal ??= signal;
  };

  /** `backing` is for the message. Listens from now on. */
  constructor(backing: string) {
    this.backing = backing;
    this.listen();
  }

  private listen(): void {
    for (const signal of SIGNALS) process.on(signal, this.note);
  }

  /** Signals do what they do by themselves, or what others listen for. */
  leave(): void {
    for (const signal of SIGNALS) process.off(signal, this.note);
  }

  /** Throws a `Failure` if a signal has come. */
  async check(): Promise<void> {
    await turn(); // those that came during the last step are heard now
    if (this.signal !== undefined) throw interrupted(this.backing, this.signal);
  }

  /** Runs `act`, which may take long and be cut short at any moment: a signal ends the process. */
  endedBy<T>(act: () => T): T {
    this.leave();
    try {
      return act();
    } finally {
      this.listen();
    }
  }
}

export const interrupted = (backing: string, signal: string): Failure =>
  new Failure(`${backing}: interrupted (${signal}) before it served; it is not mounted`);
