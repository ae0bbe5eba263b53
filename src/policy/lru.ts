/** The coldest first: least recently written. The baseline that every other policy is measured against. */
import { assert } from "../base/assert.ts";
import type { FrameNo } from "../base/units.ts";
import { type FrameTable, WORDS, Word } from "../cache/frames.ts";
import type { Policy } from "./policy.ts";

const END = -1;
/** In COLDER, where the frame is in no list. */
const UNLISTED = -2;
const COLDER = Word.policy;
const WARMER = Word.policy + 1;

export class LruPolicy implements Policy {
  readonly name = "lru";
  count = 0;
  private readonly words: Int32Array;
  private coldest = END;
  private warmest = END;

  /** Keeps its links in the policy's words of the rows. */
  constructor(frames: FrameTable) {
    this.words = frames.words;
    for (let frame = 0; frame < frames.count; frame++) this.words[frame * WORDS + COLDER] = UNLISTED;
  }

  isListed(frame: FrameNo): boolean {
    return this.words[frame * WORDS + COLDER] !== UNLISTED;
  }

  admitted(frame: FrameNo): void {
    assert(this.words[frame * WORDS + COLDER] === UNLISTED, "a frame is admitted once");
    this.words[frame * WORDS + COLDER] = this.warmest;
    this.words[frame * WORDS + WARMER] = END;
    if (this.warmest === END) this.coldest = frame;
    else this.words[this.warmest * WORDS + WARMER] = frame;
    this.warmest = frame;
    this.count++;
  }

  rewritten(old: FrameNo, frame: FrameNo): void {
    this.removed(old);
    this.admitted(frame);
  }

  removed(frame: FrameNo): void {
    const colder = this.words[frame * WORDS + COLDER]!;
    if (colder === UNLISTED) return;
    const warmer = this.words[frame * WORDS + WARMER]!;
    if (colder === END) this.coldest = warmer;
    else this.words[colder * WORDS + WARMER] = warmer;
    if (warmer === END) this.warmest = colder;
    else this.words[warmer * WORDS + COLDER] = colder;
    this.words[frame * WORDS + COLDER] = UNLISTED;
    this.words[frame * WORDS + WARMER] = UNLISTED;
    this.count--;
  }

  victims(most: number, out: Int32Array): number {
    let taken = 0;
    while (taken < most && this.coldest !== END) {
      const frame = this.coldest as FrameNo;
      out[taken++] = frame;
      this.removed(frame);
    }
    return taken;
  }

  returned(frame: FrameNo): void {
    assert(this.words[frame * WORDS + COLDER] === UNLISTED, "a frame is listed once");
    this.words[frame * WORDS + WARMER] = this.coldest;
    this.words[frame * WORDS + COLDER] = END;
    if (this.coldest === END) this.warmest = frame;
    else this.words[this.coldest * WORDS + COLDER] = frame;
    this.coldest = frame;
    this.count++;
  }
}
