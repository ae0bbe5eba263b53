/** One engine process: started with its descriptors, spoken to in JSON lines, its end reported once. */
import { type ChildProcess, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { type EngineConfig, EngineFd, type ToEngine, type ToKeeper } from "../engine/config.ts";

/** What the engine inherits; the numbers are the keeper's. */
export interface Descriptors {
  fuse: number;
  backing: number;
  slab: number;
  lock: number;
  journal: number | undefined;
  /** Where its standard output and error go: a descriptor. */
  log: number;
}

export interface EngineEvents {
  message(message: ToKeeper): void;
  /** Called once, after the last message: with an exit code, or with the signal that killed it. */
  ended(code: number | null, signal: NodeJS.Signals | null): void;
}

export class EngineProcess {
  private readonly child: ChildProcess;
  private readonly events: EngineEvents;
  private socket: Socket | undefined;
  private partial = "";
  private over = false;

  /**
   * Starts `script` in a session of its own: a terminal's Ctrl-C is for the keeper, which lets it drain. Throws, or calls
   * `ended`, when no process can be made.
   */
  constructor(script: string, config: EngineConfig, fds: Descriptors, events: EngineEvents) {
    this.events = events;
    const stdio = ["ignore", fds.log, fds.log, fds.fuse, fds.backing, "pipe", fds.slab, fds.lock] as const;
    const journal = fds.journal === undefined ? [] : [fds.journal];
    const options = { cwd: "/", detached: true, stdio: [...stdio, ...journal] };
    this.child = spawn(process.execPath, [script, JSON.stringify(config)], options);
    this.child.once("error", () => this.end(1, null));
    this.child.once("close", (code, signal) => this.end(code, signal));
    this.listen((this.child.stdio as unknown as Socket[] | undefined)?.[EngineFd.keeper]);
  }

  get pid(): number | undefined {
    return this.child.pid;
  }

  send(line: ToEngine): void {
    if (this.socket?.writable === true) this.socket.write(`${JSON.stringify(line)}\n`);
  }

  private listen(socket: Socket | undefined): void {
    this.socket = socket;
    socket?.setEncoding("utf8").on("data", (text: string) => {
      for (const line of this.lines(text)) this.events.message(JSON.parse(line) as ToKeeper);
    });
    socket?.on("error", () => undefined); // an engine that died while we wrote: its end is reported by "close"
  }

  private end(code: number | null, signal: NodeJS.Signals | null): void {
    if (this.over) return;
    this.over = true;
    this.events.ended(code, signal);
  }

  /** Whole lines; one that a kill cut short is never completed. */
  private lines(text: string): string[] {
    const parts = (this.partial + text).split("\n");
    this.partial = parts.pop()!;
    return parts.filter((line) => line !== "");
  }
}
