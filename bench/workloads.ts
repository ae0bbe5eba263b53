/** What each server is asked to do; the names are those of `--only`. */

export interface Workload {
  name: string;
  title: string;
  rw: "randwrite" | "randread" | "write";
  blockSize: string;
  depth: number;
}

export const WORKLOADS: readonly Workload[] = [
  { name: "4k-write-qd1", title: "4k randwrite QD1", rw: "randwrite", blockSize: "4k", depth: 1 },
  { name: "4k-write-qd8", title: "4k randwrite QD8", rw: "randwrite", blockSize: "4k", depth: 8 },
  { name: "4k-write-qd32", title: "4k randwrite QD32", rw: "randwrite", blockSize: "4k", depth: 32 },
  { name: "64k-write-qd8", title: "64k randwrite QD8", rw: "randwrite", blockSize: "64k", depth: 8 },
  { name: "1m-write-qd4", title: "1m write QD4", rw: "write", blockSize: "1m", depth: 4 },
  { name: "4k-read-qd1", title: "4k randread QD1", rw: "randread", blockSize: "4k", depth: 1 },
  { name: "4k-read-qd32", title: "4k randread QD32", rw: "randread", blockSize: "4k", depth: 32 },
];
