/** The files of a workload: every step is noted before it is taken, every promise when it was given. */
import { constants, writeSync } from "node:fs";
import { type FileHandle, open, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { errnoName } from "../../src/base/errno.ts";
import { FALLOC } from "../../src/sys/constants.ts";
import * as libc from "../../src/sys/libc.ts";
import type { AnswerNotes } from "./answers.ts";
import { flushedEntries } from "./log.ts";
import { SECTOR_BYTES, stamped } from "./stamp.ts";

export const OPENINGS = { direct: constants.O_DIRECT, buffered: 0, dsync: constants.O_DSYNC } as const;
export type Opening = keyof typeof OPENINGS;

/** One image of the workload, open. Its steps come one at a time; flushes may come beside them. */
export interface ImageFile {
  image: number;
  handle: FileHandle;
  opening: Opening;
  /** Sectors. */
  size: number;
  /** The last step that was answered. */
  answered: number;
}

export class Client {
  private readonly root: string;
  private readonly log: number | undefined;
  private readonly notes: number;
  private readonly answers: AnswerNotes | undefined;
  private steps = 0;
  private images = 0;
  private promises = 0;
  /** The last step on names that was answered; they come one at a time. */
  private named = 0;

  /** `log`: of the device below; undefined: positions are 0. `answers`: where each answer is noted too. */
  constructor(root: string, log: number | undefined, notes: number, answers?: AnswerNotes) {
    this.root = root;
    this.log = log;
    this.notes = notes;
    this.answers = answers;
  }

  private note(line: string): void {
    writeSync(this.notes, `${line}\n`);
  }

  /** Call it right after the answer: what is promised is in the log's entries up to here. */
  private promise(kind: string, what: string): void {
    this.note(`${kind} ${this.log === undefined ? 0 : flushedEntries(this.log)} ${what}`);
    if (++this.promises === 1) console.log("promised");
  }

  async create(name: string, opening: Opening): Promise<ImageFile> {
    const image = ++this.images;
    const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | OPENINGS[opening];
    const handle = await this.step(`${image} ${name}`, "C", () => open(join(this.root, name), flags));
    return { image, handle, opening, size: 0, answered: 0 };
  }

  /** Opens an image of `size` sectors that was there before. */
  async open(name: string, opening: Opening, size: number): Promise<ImageFile> {
    const image = ++this.images;
    this.note(`C 0 ${image} ${name}`);
    const handle = await open(join(this.root, name), constants.O_RDWR | OPENINGS[opening]);
    return { image, handle, opening, size, answered: 0 };
  }

  /** A step on content was answered. */
  private answered(file: ImageFile, number: number): void {
    this.answers?.answered(number, this.steps);
    file.answered = number;
  }

  /** A step on names. */
  private async step<T>(what: string, kind: string, take: () => Promise<T>): Promise<T> {
    const number = ++this.steps;
    this.note(`${kind} ${number} ${what}`);
    const result = await take();
    this.named = number;
    return result;
  }

  async write(file: ImageFile, first: number, count: number): Promise<void> {
    const number = ++this.steps;
    const bytes = stamped(file.image, number, first, count);
    this.note(`W ${number} ${file.image} ${first} ${count}`);
    const { bytesWritten } = await file.handle.write(bytes, 0, bytes.length, first * SECTOR_BYTES);
    if (bytesWritten !== bytes.length) throw new Error(`${bytesWritten} of ${bytes.length} bytes were taken`);
    this.answered(file, number);
    file.size = Math.max(file.size, first + count);
    if (file.opening === "dsync") this.promise("F", `${file.image} ${number}`);
  }

  async punch(file: ImageFile, first: number, count: number): Promise<void> {
    const number = ++this.steps;
    this.note(`Z ${number} ${file.image} ${first} ${count}`);
    const mode = FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE;
    const result = libc.fallocate(file.handle.fd, mode, first * SECTOR_BYTES, count * SECTOR_BYTES);
    if (result < 0) throw Object.assign(new Error("punch"), { code: errnoName(result), syscall: "fallocate" });
    this.answered(file, number);
  }

  async truncate(file: ImageFile, size: number): Promise<void> {
    const number = ++this.steps;
    this.note(`T ${number} ${file.image} ${size} 0`);
    await file.handle.truncate(size * SECTOR_BYTES);
    this.answered(file, number);
    file.size = size;
  }

  async flush(file: ImageFile, dataOnly: boolean): Promise<void> {
    const covered = file.answered;
    await (dataOnly ? file.handle.datasync() : file.handle.sync());
    this.promise("F", `${file.image} ${covered}`);
  }

  rename({ image }: ImageFile, from: string, to: string): Promise<void> {
    return this.step(`${image} ${from} ${to}`, "R", () => rename(join(this.root, from), join(this.root, to)));
  }

  unlink({ image }: ImageFile, name: string): Promise<void> {
    return this.step(`${image} ${name}`, "U", () => unlink(join(this.root, name)));
  }

  async flushDirectory(): Promise<void> {
    const covered = this.named;
    const handle = await open(this.root, constants.O_RDONLY | constants.O_DIRECTORY);
    try {
      await handle.sync();
    } finally {
      await handle.close();
    }
    this.promise("D", String(covered));
  }
}
