/** One process that does single file operations as it is told: the other side of `hand.c`. */
import { type ChildProcess, spawn } from "node:child_process";
import { MARK } from "../support/marks.ts";
import { kill } from "../support/processes.ts";
import type { Scope } from "../support/scope.ts";

/** As `enum op` of hand.c. */
export const Op = {
  open: 0,
  close: 1,
  write: 2,
  read: 3,
  truncate: 4,
  fallocate: 5,
  copy: 6,
  mapWrite: 7,
  mapRead: 8,
  sync: 9,
  rename: 10,
  unlink: 11,
  link: 12,
  stat: 13,
  seek: 14,
} as const;

export interface Command {
  op: number;
  slot?: number;
  /** A copy's target slot. */
  other?: number;
  flags?: number;
  offset?: number;
  length?: number;
  offsetOther?: number;
  seed?: number;
  mode?: number;
  name?: string;
  nameOther?: string;
}

export interface Answer {
  /** Or a negated error number. */
  result: number;
  data: Buffer;
}

const COMMAND_BYTES = 144;
const NAME_BYTES = 48;
const ANSWER_BYTES = 16;

export class Hand {
  private readonly child: ChildProcess;
  private received: Buffer[] = [];
  private length = 0;
  private settle: ((answer: Answer) => void) | undefined;
  private fail: ((error: Error) => void) | undefined;

  /** `program` is the compiled hand.c. */
  constructor(program: string, directory: string, scope: Scope) {
    const child = spawn(program, [directory], { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...MARK } });
    this.child = child;
    scope(() => kill(child.pid!));
    child.stdin.on("error", () => {}); // its end tells
    child.stdout.on("data", (chunk: Buffer) => this.take(chunk));
    child.on("exit", (code, signal) => this.fail?.(new Error(`a hand ended: exit code ${code}, signal ${signal}`)));
  }

  /** One command at a time. */
  do(command: Command): Promise<Answer> {
    return new Promise((resolve, reject) => {
      this.settle = resolve;
      this.fail = reject;
      this.child.stdin!.write(encode(command));
    });
  }

  end(): void {
    this.child.stdin!.end();
  }

  private take(chunk: Buffer): void {
    this.received.push(chunk);
    this.length += chunk.length;
    if (this.length < ANSWER_BYTES) return;
    const first = this.received[0]!.length >= ANSWER_BYTES ? this.received[0]! : Buffer.concat(this.received);
    if (this.length < ANSWER_BYTES + Number(first.readBigUInt64LE(8))) return;
    const data = Buffer.concat(this.received).subarray(ANSWER_BYTES);
    this.received = [];
    this.length = 0;
    this.settle!({ result: Number(first.readBigInt64LE(0)), data });
  }
}

function encode(command: Command): Buffer {
  const bytes = Buffer.alloc(COMMAND_BYTES);
  const { op, slot = 0, other = 0, flags = 0, seed = 0, mode = 0 } = command;
  for (const [index, value] of [op, slot, other, flags].entries()) bytes.writeUInt32LE(value, index * 4);
  const { offset = 0, length = 0, offsetOther = 0 } = command;
  for (const [index, value] of [offset, length, offsetOther].entries()) {
    bytes.writeBigUInt64LE(BigInt(value), 16 + index * 8);
  }
  bytes.writeUInt32LE(seed, 40);
  bytes.writeUInt32LE(mode, 44);
  bytes.write(command.name ?? "", 48, "latin1");
  bytes.write(command.nameOther ?? "", 48 + NAME_BYTES, "latin1");
  return bytes;
}
