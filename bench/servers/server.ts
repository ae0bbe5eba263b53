/** What the bench knows of a server: how to start it, the file that it serves, its processes. */
import type { Cleanup } from "../support/cleanup.ts";

/** Where and how a server is started. */
export interface Stage {
  /** A directory of this server's own, on the filesystem that is compared with. */
  directory: string;
  imageBytes: number;
  cacheBytes: number;
  pin: number | null;
  cleanup: Cleanup;
}

export interface RunningServer {
  /** The file to read and write. */
  file: string;
  /** The server's first process; its children count as well. null: no process but the kernel. */
  pid: number | null;
  /** What the server itself can say about the run, if anything; asked before it is stopped. */
  remark?: () => string;
}

export interface Server {
  name: string;
  about: string;
  /** Starts it and leaves stopping to `stage.cleanup`. Throws Unavailable when it cannot run here. */
  start(stage: Stage): Promise<RunningServer>;
}
