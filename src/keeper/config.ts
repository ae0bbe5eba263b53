/** What `hypegear mount` tells the keeper (argv[2] of `main.ts`, JSON), and what the keeper answers. */

import type { ExitCode } from "../base/errors.ts";
import type { EngineConfig } from "../engine/config.ts";

export interface KeeperConfig {
  /** Absolute paths as the user named them; the keeper resolves symbolic links. */
  backing: string;
  mountpoint: string;
  cacheBytes: number;
  /** Where the journal lies: an absolute path, or empty for the place in the backing directory. */
  journal: string;
  /** Its size if the user gave one. */
  journalBytes?: number | undefined;
  allowOther: boolean;
  /** No program can be run from the mount. */
  noexec: boolean;
  /** Go on although a slab that should be there is missing, or a journal, or images were changed beneath their data. */
  force: boolean;
  /** The engine's entry. */
  engineScript: string;
  /** What the engine needs beside what the keeper finds out. */
  engine: Omit<EngineConfig, "backing" | "mountpoint" | "start" | "adopted" | "force" | "journal">;
}

export interface Ready {
  type: "ready";
  backing: string;
  mountpoint: string;
  /** The cache size that is in force. */
  cacheBytes: number;
  /** What the user should know, each a line. */
  notices: string[];
}

export interface Failed {
  type: "failed";
  message: string;
  exitCode: ExitCode;
}

/** Before the others, any number of times: how much of a recovery is done, 0 to 1. */
export interface Recovering {
  type: "recovering";
  share: number;
}

export type Report = Ready | Failed | Recovering;
