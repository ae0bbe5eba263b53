/**
 * Which dirty frames go home first. The write cache tells a policy what happens to dirty frames; the writer asks it for
 * victims at its own pace. A policy owns at most 8 bytes a frame and does no I/O.
 */
import type { FrameNo } from "../base/units.ts";

export interface Policy {
  /** Shown in `stats`. */
  readonly name: string;
  /** A block became dirty. */
  admitted(frame: FrameNo): void;
  /** `frame` took the place of `old`, which was listed; it is the newest write. */
  rewritten(old: FrameNo, frame: FrameNo): void;
  /** A listed frame left: discarded, or taken for a home write by someone else. No effect on one that is not listed. */
  removed(frame: FrameNo): void;
  /** Writes up to `most` frames that should go home next to `out`, best first; they are no longer listed. How many. */
  victims(most: number, out: Int32Array): number;
  /** Back from a home write that failed: listed again, first in turn. */
  returned(frame: FrameNo): void;
  isListed(frame: FrameNo): boolean;
  /** Listed frames. */
  readonly count: number;
}
