/**
 * Conversations with the control file: on one file handle a write is a command, and reads give its answer, then the end.
 * The write returns when the command is carried out, and fails if it failed, so that `echo flush > control` tells the truth;
 * the answer can be read in both cases.
 */
import { E } from "../base/errno.ts";
import { ExitCode } from "../base/errors.ts";
import type { ReplyBody, Request } from "../fuse/request.ts";
import { type Outcome, PENDING } from "../fuse/request.ts";
import { answerError, type ControlCommands, exitCodeOf } from "./control-commands.ts";

/** Conversations remembered; the oldest that waits for nothing goes first. */
export const CONVERSATIONS_MAX = 64;
/** Longest command, bytes: a path, and what is done with it. */
export const COMMAND_BYTES_MAX = 8192;

interface Conversation {
  /** What is left to read of the answer. */
  answer: Buffer;
  /** A command is being carried out. */
  busy: boolean;
}

/** What a failed command's write(2) fails with, by the answer's exit code. */
const ERRNO_OF: Readonly<Record<number, number>> = {
  [ExitCode.usage]: E.EINVAL,
  [ExitCode.refused]: E.EBUSY,
  [ExitCode.forbidden]: E.EPERM,
};

const LOST = answerError(
  ExitCode.failed,
  "the answer is gone: the engine died before it was read, or 64 newer ones came; what the write returned holds",
);

export class ControlChannel {
  private readonly commands: ControlCommands;
  /** By file handle, oldest first. */
  private readonly conversations = new Map<number, Conversation>();

  constructor(commands: ControlCommands) {
    this.commands = commands;
  }

  /** 0, or -ENFILE when as many wait for their commands as are remembered. */
  open(fh: number): number {
    if (this.conversations.size >= CONVERSATIONS_MAX && !this.forgetOldest()) return -E.ENFILE;
    this.conversations.set(fh, { answer: Buffer.alloc(0), busy: false });
    return 0;
  }

  release(fh: number): void {
    this.conversations.delete(fh);
  }

  /** The next bytes of the answer, at most `size`; none at its end. */
  read(fh: number, size: number): Buffer {
    const conversation = this.conversations.get(fh) ?? this.resumed(fh, LOST);
    const bytes = conversation.answer.subarray(0, size);
    conversation.answer = conversation.answer.subarray(bytes.length);
    return bytes;
  }

  /** Carries out the command in `payload`, whole lines being one; answers the write when it is done. */
  write(fh: number, payload: Buffer, request: Request, body: ReplyBody): Outcome {
    const conversation = this.conversations.get(fh) ?? this.resumed(fh, "");
    if (conversation.busy) return -E.EBUSY;
    const bytes = payload.length;
    let answered: string | undefined;
    let end = (answer: string): void => {
      answered = answer;
    };
    conversation.busy = true;
    this.run(payload, conversation, (answer) => end(answer));
    if (answered !== undefined) return written(answered, bytes, body);
    const later = request.later();
    end = (answer) => {
      const failed = errnoOf(answer);
      if (failed < 0) later.end(failed);
      else later.reply((reply) => written(answer, bytes, reply));
    };
    return PENDING;
  }

  private run(payload: Buffer, conversation: Conversation, end: (answer: string) => void): void {
    const finish = (answer: string): void => {
      conversation.busy = false;
      conversation.answer = Buffer.from(`${answer}\n`, "latin1");
      end(answer);
    };
    const line = payload.toString("latin1").replace(/\r?\n$/, "");
    if (payload.length > COMMAND_BYTES_MAX) {
      finish(
        answerError(ExitCode.usage, `a command has at most ${COMMAND_BYTES_MAX} bytes: received ${payload.length}`),
      );
    } else if (line.includes("\n")) {
      finish(answerError(ExitCode.usage, "one command a write: received several lines"));
    } else {
      this.attempt(line, conversation, finish);
    }
  }

  /** A bug in a command is thrown on, to become this request's EIO; the conversation stays usable. */
  private attempt(line: string, conversation: Conversation, finish: (answer: string) => void): void {
    try {
      this.commands.run(line, finish);
    } catch (error) {
      conversation.busy = false;
      throw error;
    }
  }

  /** A handle that an earlier engine gave, or that was forgotten. */
  private resumed(fh: number, answer: string): Conversation {
    this.forgetOldestIfFull();
    const conversation = { answer: Buffer.from(answer === "" ? "" : `${answer}\n`, "latin1"), busy: false };
    this.conversations.set(fh, conversation);
    return conversation;
  }

  private forgetOldestIfFull(): void {
    if (this.conversations.size >= CONVERSATIONS_MAX) this.forgetOldest();
  }

  private forgetOldest(): boolean {
    for (const [fh, { busy }] of this.conversations) {
      if (!busy) return this.conversations.delete(fh);
    }
    return false;
  }
}

/** 0 for `ok`, or the negated error number that stands for the answer. */
const errnoOf = (answer: string): number => {
  const code = exitCodeOf(answer);
  return code === ExitCode.done ? 0 : -(ERRNO_OF[code] ?? E.EIO);
};

/** fuse_write_out for a command that succeeded, else its error. */
function written(answer: string, bytes: number, body: ReplyBody): Outcome {
  const failed = errnoOf(answer);
  if (failed < 0) return failed;
  body.u32(bytes);
  body.u32(0);
  return 0;
}
