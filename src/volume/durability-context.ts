/** What keeping promises takes of all the rest. */
import type { Ticker } from "../base/clock.ts";
import type { Timers } from "../base/timers.ts";
import type { InodeSlot } from "../base/units.ts";
import type { Image } from "../cache/images.ts";
import type { Journal } from "../journal/journal.ts";
import type { Counters } from "../stats/counters.ts";
import type { Io } from "../sys/io.ts";
import type { Writer } from "../writeback/writer.ts";
import type { Checkpoint } from "./checkpoint.ts";
import type { Router } from "./route.ts";
import type { TransactionContext, Transactions } from "./transactions.ts";

export type DurabilityMode = "sync" | "ordered" | "volatile";

export interface DurabilityContext extends Omit<TransactionContext, "isTold" | "acknowledged"> {
  readonly writer: Writer;
  readonly ticker: Ticker;
  readonly transactions: Transactions;
  readonly checkpoint: Checkpoint;
  readonly router: Router;
  readonly journal: Journal;
  readonly counters: Counters;
  nowUs(): number;
  images(): Iterable<Image>;
  /** The image at `slot`, opened if need be, or a negated error number. */
  open(slot: InodeSlot): Image | number;
  /** Blocks that may be dirty at most. */
  dirtyLimit(): number;
  /** Writes wait for room. */
  isCrowded(): boolean;
  /** Declares the journal void, for good: no recovery looks into it. `done` gets 0 when that is durable. */
  abandon(done: (result: number) => void): void;
  readonly timers: Timers;
  readonly io: Io;
}
