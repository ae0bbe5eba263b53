import { Counter, Counters, HistogramSlot } from "../../src/stats/counters.ts";
import type { StatsSource } from "../../src/stats/source.ts";

/** A mount in the middle of its work: every figure differs from every other. */
export function exampleCounters(): Counters {
  const counters = new Counters(new Float64Array(1024));
  const set = (slot: number, value: number): void => {
    counters.at[slot] = value;
  };
  set(Counter.mountedAtUs, 1_000_000);
  set(Counter.engineStarts, 3);
  set(Counter.engineCpuUs, 4_000_000.4);
  set(Counter.writeRequests, 7_000);
  set(Counter.writeBytes, 40_960_000);
  set(Counter.writeBlocks, 10_000);
  set(Counter.absorbedRewriteBlocks, 3_000);
  set(Counter.absorbedDiscardBlocks, 500);
  set(Counter.delayedWrites, 12);
  set(Counter.delayedUs, 34_567);
  set(Counter.readRequests, 800);
  set(Counter.readBytes, 3_276_800);
  set(Counter.readHitBlocks, 200);
  set(Counter.readMissBlocks, 600);
  set(Counter.flushRequests, 25);
  set(Counter.homeFlushes, 20);
  set(Counter.writebackIos, 130);
  set(Counter.writebackBlocks, 5_200);
  set(Counter.writebackBytes, 21_299_200);
  set(Counter.writebackErrors, 2);
  for (const us of [20, 21, 22, 24, 1_500]) counters.observe(HistogramSlot.write, us);
  for (const us of [300, 90_000.5]) counters.observe(HistogramSlot.read, us);
  return counters;
}

export function exampleSource(changes: Partial<StatsSource> = {}): StatsSource {
  return {
    counters: exampleCounters(),
    nowUs: 7_501_000_000.25,
    version: "0.1.0",
    mountpoint: "/srv/images",
    backing: "/data/images",
    transport: "dev",
    io: "uring",
    device: { class: "hdd", reason: "8:1 (sda1) -> sda, queue/rotational is 1" },
    durability: "sync",
    lossWindowUs: 5_000_000,
    journal: { bytes: 1_073_733_632, usedBytes: 12_345_344, commits: 17, uncommittedBlocks: 222, hasFailed: false },
    policy: "sweep",
    dirtyBlocks: 1_300,
    dirtyLimitBlocks: 209_715.2,
    oldestUs: 3_200_000.7,
    drainBytesPerSecond: 1_000_000,
    inflightHomeWrites: 4,
    delayUs: 0,
    waitingWrites: 0,
    dirtyImages: 2,
    failingImages: 0,
    stalledImages: 0,
    slabBytes: 1_083_179_008,
    frames: 262_144,
    freeFrames: 260_000,
    metadataBytes: 9_437_184,
    enginePid: 4_711,
    residentBytes: 83_886_080,
    ...changes,
  };
}
