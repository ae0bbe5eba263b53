/** The engine's end of the socket to its keeper: JSON lines, read and written without blocking. */
import { E } from "../base/errno.ts";
import { O } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { Mapping } from "../sys/memory.ts";
import type { ToEngine, ToKeeper } from "./config.ts";

const F_GETFL = 3;
const F_SETFL = 4;
const BUFFER_BYTES = 4096;

export class KeeperLink {
  /** The keeper is there; false once it was found dead. */
  alive = true;
  private readonly fd: number;
  private readonly buffer = Mapping.anonymous(BUFFER_BYTES);
  private readonly bytes: Buffer;
  private partial = "";

  constructor(fd: number) {
    this.fd = fd;
    this.bytes = Buffer.from(this.buffer.view(0, BUFFER_BYTES));
    libc.fcntl(fd, F_SETFL, libc.fcntl(fd, F_GETFL, 0) | O.NONBLOCK);
  }

  /** Tells the keeper; a dead one misses nothing. */
  send(line: ToKeeper): void {
    const text = Buffer.from(`${JSON.stringify(line)}\n`);
    for (let at = 0; at < text.length && this.alive; ) {
      const step = text.copy(this.bytes, 0, at, at + BUFFER_BYTES);
      const written = libc.write(this.fd, this.buffer.address, step);
      if (written > 0) at += written;
      else if (written !== -E.EINTR && written !== -E.EAGAIN) this.alive = false;
    }
  }

  /** The lines that have come; notices the keeper's death. */
  receive(): ToEngine[] {
    for (;;) {
      const got = libc.read(this.fd, this.buffer.address, BUFFER_BYTES);
      if (got === -E.EINTR) continue;
      if (got === 0 || (got < 0 && got !== -E.EAGAIN)) this.alive = false;
      if (got <= 0) break;
      this.partial += this.bytes.toString("utf8", 0, got);
    }
    const lines = this.partial.split("\n");
    this.partial = lines.pop()!;
    return lines.filter((line) => line !== "").map((line) => JSON.parse(line) as ToEngine);
  }
}
