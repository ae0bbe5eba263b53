/** CPU time of all engines since the mount, in the slab: an engine that is killed says nothing any more. */
import { Counter, type Counters } from "../stats/counters.ts";

/** What a killed engine has used since it last noted is lost: at most this, microseconds. */
const NOTED_US = 100_000;

export class CpuTime {
  private readonly counters: Counters;
  private readonly beforeUs: number;
  private dueUs = 0;

  constructor(counters: Counters) {
    this.counters = counters;
    this.beforeUs = counters.at[Counter.engineCpuUs]!;
  }

  /** Called often: notes it now and then. */
  pass(nowUs: number): void {
    if (nowUs < this.dueUs) return;
    this.dueUs = nowUs + NOTED_US;
    this.note();
  }

  /** Before it is shown, or the next engine might show less. */
  note(): void {
    const { user, system } = process.cpuUsage();
    this.counters.at[Counter.engineCpuUs] = this.beforeUs + user + system;
  }
}
