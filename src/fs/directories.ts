/**
 * Where inodes lie in the backing directory. Directories are reached from the root descriptor, one name at a time, with
 * O_PATH | O_DIRECTORY | O_NOFOLLOW and a check of device and inode number: no symlink and no `..` is ever followed, so
 * nothing outside the backing directory can be reached, whatever is swapped in underneath.
 */
import { LRUCache } from "lru-cache";
import { E } from "../base/errno.ts";
import { OPEN_DIRECTORIES_MAX, WALK_KEPT_MAX } from "../base/limits.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import { ImageFlag, type ImageTable } from "../cache/image.ts";
import { AT_EMPTY_PATH, O, S } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import { Stat } from "../sys/stat.ts";
import { type Records, ROOT } from "./records.ts";

const OPEN_DIRECTORY = O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC;
const NOTHING = libc.cstring("");
const SELF = libc.cstring(".");

export class Directories {
  readonly rootFd: number;
  /** The directory of files that were unlinked while in use. */
  readonly heldFd: number;
  /** The name within the directory that `place` has just returned, NUL-terminated. */
  name: Buffer = NOTHING;
  /** AT_EMPTY_PATH if `place` has just returned the file itself, and `name` is empty; else 0. */
  flags = 0;
  private readonly records: Records;
  private readonly images: ImageTable;
  private readonly stat = new Stat();
  private readonly open: LRUCache<number, number>;
  /** O_PATH descriptors of inodes without a name: removed directories, and files that could not be moved to `held`. */
  private readonly nameless = new Map<InodeSlot, number>();

  constructor(records: Records, images: ImageTable, rootFd: number, heldFd: number) {
    this.records = records;
    this.images = images;
    this.rootFd = rootFd;
    this.heldFd = heldFd;
    this.open = new LRUCache({ max: OPEN_DIRECTORIES_MAX, dispose: (fd) => void libc.close(fd) });
  }

  /** An O_PATH descriptor of directory `slot`, owned here, or a negated error number (ESTALE: replaced underneath). */
  descriptor(slot: InodeSlot): number {
    const known = this.cached(slot);
    if (known !== undefined) return known;
    const way: InodeSlot[] = [slot];
    let fd: number | undefined;
    while (fd === undefined) {
      const parent = asSlot(this.records.parent(way[way.length - 1]!));
      if (parent < 0 || way.length > 65536) return -E.ESTALE;
      fd = this.cached(parent);
      if (fd === undefined) way.push(parent);
    }
    return this.walk(fd, way);
  }

  private cached(slot: InodeSlot): number | undefined {
    return slot === ROOT ? this.rootFd : (this.open.get(slot) ?? this.nameless.get(slot));
  }

  /** Goes down from `fd` by the directories of `way`, last first. Those far from the end are closed again at once. */
  private walk(fd: number, way: InodeSlot[]): number {
    let closing = -1;
    for (let i = way.length - 1; i >= 0; i--) {
      const next = this.step(fd, way[i]!);
      if (closing >= 0) libc.close(closing);
      closing = -1;
      if (next < 0) return next;
      if (i < WALK_KEPT_MAX) this.open.set(way[i]!, next);
      else closing = next;
      fd = next;
    }
    return fd;
  }

  private step(parentFd: number, slot: InodeSlot): number {
    const fd = libc.openat(parentFd, libc.cstring(this.records.name(slot)), OPEN_DIRECTORY, 0);
    if (fd < 0) return fd === -E.ENOENT || fd === -E.ENOTDIR || fd === -E.ELOOP ? -E.ESTALE : fd;
    const result = this.stat.read(fd, NOTHING, AT_EMPTY_PATH);
    if (result === 0 && this.records.matches(slot, this.stat)) return fd;
    libc.close(fd);
    return result < 0 ? result : -E.ESTALE;
  }

  /** The directory in which `slot` lies; `name` and `flags` then say where in it. A negated error number when lost. */
  place(slot: InodeSlot): number {
    this.flags = 0;
    const own = this.cached(slot);
    if (own !== undefined) return this.itself(slot, own);
    this.name = libc.cstring(this.records.name(slot));
    if (this.images.flags(slot) & ImageFlag.held) return this.heldFd;
    const parent = this.records.parent(slot);
    return parent < 0 ? -E.ESTALE : this.descriptor(asSlot(parent));
  }

  private itself(slot: InodeSlot, fd: number): number {
    const directory = slot === ROOT || (this.records.mode(slot) & S.IFMT) === S.IFDIR;
    this.name = directory ? SELF : NOTHING;
    this.flags = directory ? 0 : AT_EMPTY_PATH;
    return fd;
  }

  /** Fills `stat` with what lies where `slot` should; ESTALE when that is gone or another file. */
  read(slot: InodeSlot, stat: Stat): number {
    const fd = this.place(slot);
    if (fd < 0) return fd;
    const result = stat.read(fd, this.name, this.flags);
    if (result < 0) return result === -E.ENOENT || result === -E.ENOTDIR ? -E.ESTALE : result;
    return this.records.matches(slot, stat) ? 0 : -E.ESTALE;
  }

  /** Keeps `slot` reachable by a descriptor of its own before its last name goes. 0, or a negated error number. */
  keepNameless(slot: InodeSlot): number {
    if (this.nameless.has(slot)) return 0;
    const parentFd = this.place(slot);
    if (parentFd < 0) return parentFd;
    const fd = libc.openat(parentFd, this.name, O.PATH | O.NOFOLLOW | O.CLOEXEC, 0);
    if (fd >= 0) this.nameless.set(slot, fd);
    return fd < 0 ? fd : 0;
  }

  /** True if only `keepNameless` keeps `slot` reachable. */
  isNameless(slot: InodeSlot): boolean {
    return this.nameless.has(slot);
  }

  /** Closes what is open of `slot`. */
  drop(slot: InodeSlot): void {
    this.open.delete(slot);
    this.dropNameless(slot);
  }

  /** Takes `keepNameless` back. */
  dropNameless(slot: InodeSlot): void {
    const fd = this.nameless.get(slot);
    if (fd !== undefined) libc.close(fd);
    this.nameless.delete(slot);
  }

  close(): void {
    this.open.clear();
    for (const fd of this.nameless.values()) libc.close(fd);
    this.nameless.clear();
  }
}
