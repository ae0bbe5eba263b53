/** What the keeper tells a new engine (argv[2], JSON), and the lines that the two exchange afterwards. */

export type Durability = "sync" | "ordered" | "volatile";
export type DeviceClass = "hdd" | "ssd";

/** Settings that `hypegear set` changes live; an engine restart keeps them (they lie in the slab). */
export interface LiveSettings {
  durability: Durability;
  /** Between two instants of `ordered`, seconds. */
  lossWindow: number;
  /** `auto` follows what the backing device says. */
  device: "auto" | DeviceClass;
  /** Share of the frames that may be dirty, 0.05 to 0.95. */
  dirtyLimit: number;
  /** Home writes, bytes a second; 0: no cap. */
  rateLimit: number;
  /** Dirty data older than this goes home, seconds; 0: no limit. */
  maxAge: number;
  logLevel: string;
}

export interface EngineConfig {
  /** Absolute path of the backing directory, for messages only: the engine works from descriptor 4. */
  backing: string;
  mountpoint: string;
  cache: boolean;
  io: "auto" | "uring" | "threads";
  /** Show `.hypegear` in the root's listing. */
  showControl: boolean;
  /** 0 for the first engine of this mount: the kernel's INIT comes. Else the kernel is asked to send again. */
  start: number;
  /** True when the slab is one that an earlier mount left with dirty data. */
  adopted: boolean;
  /** An adopted slab's data goes over images that were changed beneath it. */
  force: boolean;
  /** Undefined: there is none. `shown`: its path for messages; `id`: what its superblock says; bytes of the file. */
  journal?: { shown: string; id: string; bytes: number } | undefined;
  /** Log file; empty: standard error. */
  logFile: string;
  version: string;
  settings: LiveSettings;
}

/** Descriptors that the engine inherits; the journal if there is one. */
export const EngineFd = { fuse: 3, backing: 4, keeper: 5, slab: 6, lock: 7, journal: 8 } as const;

export type ToKeeper =
  | { type: "ready" }
  | { type: "served" }
  | { type: "drained"; result: number }
  | { type: "failed"; message: string; exitCode: number };

/** Take everything home, and say how that went. */
export type ToEngine = { type: "drain" };
