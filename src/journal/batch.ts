/** What the journal is given to commit, and what it asks of its user meanwhile. */
import type { Clock } from "../base/clock.ts";
import type { InodeSlot, Instant } from "../base/units.ts";
import type { FrameTable } from "../cache/frames.ts";
import type { Slab } from "../cache/slab.ts";
import type { Counters } from "../stats/counters.ts";
import type { Io } from "../sys/io.ts";
import type { Facts, OperationKind } from "./contract.ts";
import type { Ledger } from "./ledger.ts";
import type { LiveImage } from "./live-image.ts";

/** One transaction. */
export interface Batch {
  /** Published frames, pinned by the caller until the end; at most one a block. */
  readonly frames: Int32Array;
  readonly count: number;
  readonly operations: readonly { kind: OperationKind; image: LiveImage; offset: number; length: number }[];
  /** Images of which its first commit speaks whatever else there is to say of them. */
  readonly named: readonly LiveImage[];
}

export interface JournalContext {
  readonly io: Io;
  readonly clock: Clock;
  readonly counters: Counters;
  readonly slab: Slab;
  readonly frames: FrameTable;
  readonly ledger: Ledger;
  /** Most frames in one commit, up to COMMIT_FRAMES_MAX. */
  readonly commitFrames: number;
  /** Home may come to be newer than the journal, and records be revoked. */
  mayRevoke(): boolean;
  /** A write or flush failed, with a negated error number: nothing more is appended. */
  failed(result: number): void;
  /** An instant that orders this moment among writes. */
  tick(): Instant;
  /** The image whose frames bear `slot`. */
  imageOf(slot: InodeSlot): LiveImage;
  /** What is true of the image now; `change`: the last thing that the transaction says of it beside its blocks. */
  facts(image: LiveImage, change: OperationKind | undefined): Facts;
}
