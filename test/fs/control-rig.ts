import { INODES_MAX } from "../../src/base/limits.ts";
import { ControlDirectory } from "../../src/fs/control.ts";
import type { ControlCommands } from "../../src/fs/control-commands.ts";
import { type Later, ReplyBody, Request } from "../../src/fuse/request.ts";

export const OWNER = { uid: 1000, gid: 100 };

/** A reply as the kernel would get it. */
export interface Answer {
  outcome: number;
  /** The body; empty with an error. */
  bytes: Buffer;
}

interface Sent {
  opcode: number;
  /** Index of the node. */
  node: number;
  uid?: number;
  unique?: number;
  /** The operation's structure: [offset, value, bytes]. */
  fields?: readonly (readonly [offset: number, value: number, bytes?: 4 | 8])[];
  name?: string;
  payload?: Buffer;
}

/** A control directory fed with requests made of bytes, as a session would, without a kernel. */
export class ControlRig {
  readonly directory: ControlDirectory;
  /** How often each file was rendered. */
  renderings = 0;
  /** Answers to requests that were left pending, in order. */
  readonly late: Answer[] = [];
  private payload: Buffer = Buffer.alloc(0);
  private unique = 2;

  constructor(commands: ControlCommands, contents = (name: string, times: number): string => `${name} ${times}\n`) {
    const render = (name: string) => (): string => contents(name, ++this.renderings);
    this.directory = new ControlDirectory({
      ...OWNER,
      clock: { nowUs: () => 0, lastUs: 0, civil: () => ({ seconds: 1_700_000_000, nanoseconds: 250 }) },
      commands,
      contents: {
        stats: render("stats"),
        "stats.json": render("stats.json"),
        metrics: render("metrics"),
        "images.json": render("images.json"),
      },
      payload: () => this.payload,
    });
  }

  send({ opcode, node, uid = OWNER.uid, unique, fields = [], name = "", payload = Buffer.alloc(0) }: Sent): Answer {
    const memory = new ArrayBuffer(4096);
    const request = new Request(memory, () => this.later());
    request.bytes.writeUInt32LE(opcode, 4);
    request.bytes.writeBigUInt64LE(BigInt(unique ?? (this.unique += 2)), 8);
    request.bytes.writeBigUInt64LE(BigInt(INODES_MAX + node + 1), 16);
    request.bytes.writeUInt32LE(uid, 24);
    for (const [offset, value, bytes = 4] of fields) {
      if (bytes === 8) request.bytes.writeBigUInt64LE(BigInt(value), 40 + offset);
      else request.bytes.writeUInt32LE(value, 40 + offset);
    }
    request.length = 40 + request.bytes.write(`${name}\0`, 40 + (name === "" ? 128 : 0), "latin1") + 128;
    this.payload = payload;
    return this.run((body) => this.directory.handle(request, body));
  }

  /** Opens a node and gives its handle and flags. */
  open(node: number, flags = 0, uid = OWNER.uid): { outcome: number; fh: number; flags: number } {
    const { outcome, bytes } = this.send({ opcode: 14, node, uid, fields: [[0, flags]] });
    if (outcome !== 0) return { outcome, fh: -1, flags: 0 };
    return { outcome, fh: Number(bytes.readBigUInt64LE(0)), flags: bytes.readUInt32LE(8) };
  }

  read(node: number, fh: number, offset: number, size = 4096): Answer {
    return this.send({
      opcode: 15,
      node,
      fields: [
        [0, fh, 8],
        [8, offset, 8],
        [16, size],
      ],
    });
  }

  /** The text that a read gives, or its error number. */
  text(node: number, fh: number, offset: number, size = 4096): string | number {
    const { outcome, bytes } = this.read(node, fh, offset, size);
    return outcome === 0 ? bytes.toString("latin1") : outcome;
  }

  write(fh: number, text: string, node = 5): Answer {
    const payload = Buffer.from(text, "latin1");
    return this.send({
      opcode: 16,
      node,
      fields: [
        [0, fh, 8],
        [16, payload.length],
      ],
      payload,
    });
  }

  run(serve: (body: ReplyBody) => number): Answer {
    const body = new ReplyBody(new ArrayBuffer(8192), 16);
    const outcome = serve(body);
    return { outcome, bytes: Buffer.from(body.bytes.subarray(0, outcome === 0 ? body.length : 0)) };
  }

  private later(): Later {
    return {
      end: (outcome) => this.late.push({ outcome, bytes: Buffer.alloc(0) }),
      reply: (fill) => this.late.push(this.run((body) => (fill(body), 0))),
    };
  }
}
