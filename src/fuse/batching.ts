/**
 * How many short answers leave together. An answer wakes its client:
 *
 *   - on a processor of its own the client then works beside us. Answers that leave together wake it once; but if all that it waits
 *     for leaves together, one of the two sleeps while the other works. So as many leave together as leave us something to do
 *   - on our processor it takes that from us. All that there is to answer leaves together then, for one such change
 *
 * How much there is to do shows only by trying: `together` is doubled when we have hardly been idle for a while, and halved when
 * we are. Whether clients share our processor shows by how often we are interrupted when answers leave; not while all
 * leave together, when we sleep. So that is looked at again now and then.
 */

/** Most answers that leave together. */
const TOGETHER_MOST = 32;
/** Bytes written by requests whose answers wait, from which on they leave: some 100 us of copying. */
export const KEPT_BYTES_MAX = 256 * 1024;
/** Requests for which we must hardly be idle before `together` is doubled: at first, and the most, to which that grows with every failure. */
const PATIENCE_FIRST = 64;
const PATIENCE_MOST = 4096;
/** What being idle once sets that back by, requests. */
const SETBACK = 256;
/** Requests that must come for each time that we are idle, or `together` is halved, and how many may be wanting. */
const REQUESTS_AN_IDLE = 64;
const WANTING_MOST = 2 * REQUESTS_AN_IDLE;
/** Departures of answers over which interruptions are counted, and how many of these mean that a client shares our processor. */
const SAMPLE = 64;
const SHARED = 0.5;
/** Requests after which it is looked at again whether it does; the same while none does. */
const SHARED_REQUESTS = 4096;
const UNSHARED_REQUESTS = 512;

export class Batching {
  /** Answers that leave together; with 1, each leaves at once. */
  together = 1;
  private kept = 0;
  private keptBytes = 0;
  /** Requests that count towards the next doubling, and those that must come. */
  private busy = 0;
  private patience = PATIENCE_FIRST;
  private hasGrown = false;
  /** Requests that are wanting for the times that we were idle. */
  private wanting = 0;
  private isShared = false;
  /** The last turn ended because no more requests waited. */
  private isIdle = true;
  /** Since interruptions are counted: how many there had been, departures, and the requests that must come yet. */
  private interruptions: number;
  private departures = 0;
  private left = SAMPLE;
  /** Requests over which they are counted, when all together did not pay. */
  private trial = SAMPLE;
  private readonly interrupted: () => number;

  /** `interrupted`: how often this process has lost its processor to another. */
  constructor(interrupted: () => number) {
    this.interrupted = interrupted;
    this.interruptions = interrupted();
  }

  /** The answer to a request that wrote `bytes` is kept. True if all that are kept are to leave now. */
  keep(bytes: number): boolean {
    this.kept++;
    this.keptBytes += bytes;
    if (this.kept < this.together && this.keptBytes < KEPT_BYTES_MAX) return false;
    this.depart();
    return true;
  }

  private depart(): void {
    this.departures++;
    this.kept = 0;
    this.keptBytes = 0;
  }

  /** A turn has served `requests`, and what is kept leaves; `isIdle`: no more of them waited. One that has found none says so of the turn before. */
  served(requests: number, isIdle: boolean): void {
    const wasIdle = this.isIdle;
    this.isIdle = isIdle;
    if (requests === 0) {
      if (!wasIdle && !this.isShared) this.climb(0, isIdle);
      return;
    }
    this.left -= requests;
    if (this.together === 1) this.departures += requests;
    else if (this.kept > 0) this.depart();
    if (this.isShared) this.reviewShared(requests);
    else {
      this.climb(requests, isIdle);
      if (this.left <= 0 && this.departures >= SAMPLE) this.look();
    }
  }

  private climb(requests: number, isIdle: boolean): void {
    this.busy = Math.max(0, this.busy + requests - (isIdle ? SETBACK : 0));
    this.wanting = Math.max(0, this.wanting - requests + (isIdle ? REQUESTS_AN_IDLE : 0));
    if (this.wanting > WANTING_MOST && this.together > 1) {
      this.become(this.together / 2);
      this.patience = Math.min(2 * this.patience, PATIENCE_MOST);
      this.hasGrown = false;
    } else if (this.busy >= this.patience && this.together < TOGETHER_MOST) {
      if (this.hasGrown) this.patience = PATIENCE_FIRST;
      this.become(2 * this.together);
      this.hasGrown = true;
    }
  }

  private become(together: number): void {
    this.together = together;
    this.busy = 0;
    this.wanting = 0;
  }

  /** Whether clients share our processor, by what has happened since this was looked at last. */
  private look(): void {
    this.isShared = this.interrupted() - this.interruptions > this.departures * SHARED;
    this.countAnew(this.isShared ? SHARED_REQUESTS : UNSHARED_REQUESTS);
    if (this.isShared) this.become(TOGETHER_MOST);
  }

  private reviewShared(requests: number): void {
    const pays = requests > 1;
    if (pays && this.left > 0) {
      this.trial = SAMPLE;
      return;
    }
    this.isShared = false;
    this.become(1);
    this.countAnew(pays ? SAMPLE : this.trial);
    if (!pays) this.trial = Math.min(2 * this.trial, PATIENCE_MOST);
  }

  private countAnew(requests: number): void {
    this.interruptions = this.interrupted();
    this.departures = 0;
    this.left = requests;
  }
}
