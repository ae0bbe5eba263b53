/** First in, first out. Taking from the front of a long array moves all the rest of it: a million of them are seconds. */
const SLACK = 1024;

export class Fifo<T> {
  private readonly items: (T | undefined)[] = [];
  /** Places before it are empty. */
  private first = 0;

  get length(): number {
    return this.items.length - this.first;
  }

  push(item: T): void {
    this.items.push(item);
  }

  /** The one behind the first `index`; undefined: there is none. */
  at(index: number): T | undefined {
    return index < 0 ? undefined : this.items[this.first + index];
  }

  get last(): T | undefined {
    return this.at(this.length - 1);
  }

  shift(): T | undefined {
    if (this.length === 0) return undefined;
    const item = this.items[this.first];
    this.items[this.first++] = undefined;
    if (this.first > SLACK && this.first > this.length) {
      this.items.splice(0, this.first);
      this.first = 0;
    }
    return item;
  }

  *[Symbol.iterator](): Generator<T> {
    for (let i = this.first; i < this.items.length; i++) yield this.items[i]!;
  }
}
