/**
 * The backing directory as recovery sees it: finds an image by its path, or wherever else it lies now, and writes it. Nothing
 * outside the directory is ever reached: no symbolic link and no `..` is followed.
 */
import { fstatSync, readdirSync } from "node:fs";
import { systemClock } from "../base/clock.ts";
import { E } from "../base/errno.ts";
import { PositionedFile } from "../device/positioned-file.ts";
import type { Identity } from "../journal/contract.ts";
import type { ReplayFile, ReplayTarget } from "../journal/replay.ts";
import { AT_EMPTY_PATH, FALLOC, O, S, SEEK_DATA, SEEK_HOLE } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { openOwn } from "../sys/open-own.ts";
import { Stat } from "../sys/stat.ts";
import { setModificationTime } from "../sys/times.ts";

const OPEN_DIRECTORY = O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
const OWN_NAME = ".hypegear";
const HELD = `${OWN_NAME}/held/`;
const ZEROS = Buffer.alloc(2 ** 20);

/** Paths are byte strings kept as latin1. */
export class BackingTarget implements ReplayTarget {
  private readonly root: number;
  private readonly access: number;
  private readonly clock = systemClock();
  private readonly stat = new Stat();
  /** Paths of all files, by inode number; made when one is not where it should be. */
  private files: Map<string, string[]> | undefined;

  /** `root`: a descriptor of the backing directory. `access`: O.RDONLY for a target that is only looked at. */
  constructor(root: number, access: number = O.RDWR) {
    this.root = root;
    this.access = access;
  }

  nowMs(): number {
    const { seconds, nanoseconds } = this.clock.civil();
    return seconds * 1000 + nanoseconds / 1e6;
  }

  open(identity: Identity, path: string): ReplayFile | "missing" | "removed" | number {
    const own = path.startsWith(`${OWN_NAME}/`) && !path.startsWith(HELD);
    const there = own ? -E.ESTALE : this.openAt(identity, path);
    if (there !== -E.ESTALE) return typeof there === "number" ? there : this.checked(there, path);
    this.files ??= this.walk();
    const paths = this.files.get(identity.inode) ?? [];
    for (const candidate of paths.toSorted((a, b) => Number(a.startsWith(HELD)) - Number(b.startsWith(HELD)))) {
      const found = this.openAt(identity, candidate);
      if (found !== -E.ESTALE) return typeof found === "number" ? found : this.checked(found, candidate);
    }
    return "missing";
  }

  /** A file that only `held` keeps is nobody's. */
  private checked(file: FileOfBacking, path: string): FileOfBacking | "removed" {
    if (!path.startsWith(HELD) || file.links > 1) return file;
    file.close();
    return "removed";
  }

  /** The file at `path` if it is the one; ESTALE when it is not, or nothing is there. */
  private openAt(identity: Identity, path: string): FileOfBacking | number {
    const names = path.split("/");
    const name = names.pop()!;
    if ([...names, name].some((part) => part === "" || part === "." || part === "..")) return -E.ESTALE;
    const directory = this.directory(names);
    if (directory < 0) return directory === -E.EACCES ? directory : -E.ESTALE;
    try {
      return this.openIn(directory, name, identity);
    } finally {
      if (directory !== this.root) libc.close(directory);
    }
  }

  private openIn(directory: number, name: string, identity: Identity): FileOfBacking | number {
    const path = libc.cstring(name);
    if (this.stat.read(directory, path) < 0 || !this.isOf(identity)) return -E.ESTALE;
    const flags = this.access | O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC;
    let fd = libc.openat(directory, path, flags, 0);
    if (fd === -E.EACCES) fd = openOwn(directory, path, flags);
    if (fd < 0) return fd;
    if (this.stat.read(fd, libc.cstring(""), AT_EMPTY_PATH) === 0 && this.isOf(identity)) return new FileOfBacking(fd);
    libc.close(fd);
    return -E.ESTALE;
  }

  private isOf({ inode, birth }: Identity): boolean {
    return this.stat.type === S.IFREG && inodeOf(this.stat) === inode && this.stat.birth === birth;
  }

  /** An O_PATH descriptor, or a negated error number. */
  private directory(names: readonly string[]): number {
    let fd = this.root;
    for (const name of names) {
      const next = libc.openat(fd, libc.cstring(name), OPEN_DIRECTORY, 0);
      if (fd !== this.root) libc.close(fd);
      if (next < 0) return next;
      fd = next;
    }
    return fd;
  }

  private walk(): Map<string, string[]> {
    const files = new Map<string, string[]>();
    const waiting = [""];
    for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
      const fd = this.directory(path === "" ? [] : path.split("/"));
      if (fd < 0) continue; // gone, or not ours to read: what lies there stays missing
      for (const name of namesIn(fd)) {
        if (this.stat.read(fd, libc.cstring(name)) < 0) continue;
        const own = path === "" ? name : `${path}/${name}`;
        if (this.stat.type === S.IFDIR) waiting.push(own);
        else if (this.stat.type === S.IFREG && (!own.startsWith(`${OWN_NAME}/`) || own.startsWith(HELD)))
          files.set(inodeOf(this.stat), [...(files.get(inodeOf(this.stat)) ?? []), own]);
      }
      if (fd !== this.root) libc.close(fd);
    }
    return files;
  }
}

const inodeOf = (stat: Stat): string => String((BigInt(stat.inoHigh) << 32n) | BigInt(stat.inoLow));

function namesIn(fd: number): string[] {
  try {
    return readdirSync(`/proc/self/fd/${fd}`, "latin1");
  } catch {
    return [];
  }
}

/** A file of the backing directory, by its descriptor. */
export class FileOfBacking implements ReplayFile {
  private readonly file: PositionedFile;

  constructor(fd: number) {
    this.file = new PositionedFile(fd);
  }

  get size(): number {
    return this.file.size;
  }

  get modifiedMs(): number {
    return fstatSync(this.file.fd).mtimeMs;
  }

  get links(): number {
    return fstatSync(this.file.fd).nlink;
  }

  write(offset: number, bytes: Uint8Array): number {
    return this.file.write(offset, bytes);
  }

  truncate(size: number): number {
    return libc.ftruncate(this.file.fd, size);
  }

  zero(offset: number, length: number): number {
    const punched = libc.fallocate(this.file.fd, FALLOC.PUNCH_HOLE | FALLOC.KEEP_SIZE, offset, length);
    if (punched !== -E.EOPNOTSUPP) return punched;
    const end = Math.min(offset + length, this.size);
    for (let at = offset; at < end; at += ZEROS.length) {
      const written = this.file.write(at, ZEROS.subarray(0, Math.min(ZEROS.length, end - at)));
      if (written < 0) return written;
    }
    return 0;
  }

  /** By the stretches of data there: a hole stays one. */
  wipe(offset: number, length: number): number {
    const { fd } = this.file;
    const end = Math.min(offset + length, this.size);
    for (let at = offset; at < end; ) {
      const data = libc.lseek(fd, at, SEEK_DATA);
      if (data === -E.ENXIO || data >= end) return 0;
      if (data < 0) return data;
      at = Math.min(libc.lseek(fd, data, SEEK_HOLE), end);
      if (at < 0) return at;
      const wiped = libc.fallocate(fd, FALLOC.ZERO_RANGE | FALLOC.KEEP_SIZE, data, at - data);
      const keepsRoom = wiped !== -E.EOPNOTSUPP && wiped !== -E.ENOSPC; // a full disk may have none for the extents
      const result = keepsRoom ? wiped : this.zero(data, at - data);
      if (result < 0) return result;
    }
    return 0;
  }

  setModificationTime(seconds: number, nanoseconds: number): number {
    return setModificationTime(this.file.fd, seconds, nanoseconds);
  }

  flush(): number {
    return this.file.flush();
  }

  close(): void {
    this.file.close();
  }
}
