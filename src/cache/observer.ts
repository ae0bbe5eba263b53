import type { FrameNo } from "../base/units.ts";

/** Told of every change among the frames that a home write may take; the replacement policy is one. */
export interface DirtyObserver {
  admitted(frame: FrameNo): void;
  rewritten(old: FrameNo, frame: FrameNo): void;
  removed(frame: FrameNo): void;
  returned(frame: FrameNo): void;
  isListed(frame: FrameNo): boolean;
}
