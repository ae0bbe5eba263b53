/**
 * Answers to guests' flushes that have ended. They leave when the next transaction is with the device: each wakes a guest, which takes
 * as long as a good part of what the device does meanwhile.
 */
export class Answers {
  private waiting: (() => void)[] = [];

  /** What is to be called instead of `answer`, which is called by `send`. */
  later(answer: (result: number) => void): (result: number) => void {
    return (result) => this.waiting.push(() => answer(result));
  }

  get isEmpty(): boolean {
    return this.waiting.length === 0;
  }

  send(): void {
    const { waiting } = this;
    this.waiting = [];
    for (const answer of waiting) answer();
  }
}
