/**
 * Whether short answers leave together or each at once. An answer wakes its client:
 *
 *   - on a processor of its own the client then works beside us, and the sooner it gets an answer the better, unless there is
 *     always more to do: then answers that leave together cost less
 *   - on our processor it takes it from us to take one answer. Together, they cost one such change for all
 *
 * How much there is to do shows only while answers are kept back: at once, each brings the next request. Whether clients share
 * our processor shows only while they are not, by how often we are interrupted. So now and then the other way is tried.
 */

/** Requests until the other way is tried: after it has failed once, and the longest, to which that is doubled with every failure. */
const TRIAL_FIRST = 64;
const TRIAL_LAST = 4096;
/** Interruptions a request from which on a client is taken to share our processor: 0.7 to 1 where one does, 0 to 0.2 where none does. */
const SHARED = 0.5;

export class Batching {
  /** Answers are to leave together. */
  keeps = false;
  private trial = TRIAL_FIRST;
  private left = TRIAL_FIRST;
  /** Of the last time that answers left at once. */
  private requests = 0;
  private interruptions: number;
  private isShared = false;
  private readonly interrupted: () => number;

  /** `interrupted`: how often this process has lost its processor to another. */
  constructor(interrupted: () => number) {
    this.interrupted = interrupted;
    this.interruptions = interrupted();
  }

  /** A turn has served `requests`; `isFull`: as many as one may. */
  served(requests: number, isFull: boolean): void {
    if (requests === 0) return;
    this.left -= requests;
    if (this.keeps) this.review(requests, isFull);
    else this.sendAtOnce(requests);
  }

  private sendAtOnce(requests: number): void {
    this.requests += requests;
    if (this.left > 0) return;
    this.isShared = this.interrupted() - this.interruptions > this.requests * SHARED;
    this.keeps = true;
    this.left = TRIAL_LAST;
  }

  private review(requests: number, isFull: boolean): void {
    const pays = isFull || (this.isShared && requests > 1);
    if (pays && (this.left > 0 || !this.isShared)) {
      this.trial = TRIAL_FIRST;
      return;
    }
    this.keeps = false;
    this.left = this.trial;
    if (!pays) this.trial = Math.min(2 * this.trial, TRIAL_LAST);
    this.requests = 0;
    this.interruptions = this.interrupted();
  }
}
