/**
 * READDIR and READDIRPLUS. The offset of a request is the backing directory's own cookie, so any engine can go on where
 * another stopped: it opens the directory and seeks. Listings under way are kept open as a speed-up only.
 */
import { LRUCache } from "lru-cache";
import { LISTINGS_MAX } from "../base/limits.ts";
import type { InodeSlot } from "../base/units.ts";
import { DIRENT_BYTES, DIRENTPLUS_BYTES, ENTRY_OUT_BYTES, In, Opcode } from "../fuse/constants.ts";
import { type Handler, OUT_HEADER_BYTES, type ReplyBody, type Request } from "../fuse/request.ts";
import { O } from "../sys/constants.ts";
import * as libc from "../sys/libc.ts";
import type { Namespace } from "./context.ts";
import { type Entry, nextEntry, readEntries } from "./entries.ts";
import { OWN_NAME } from "./held.ts";
import { ROOT } from "./records.ts";

const BUFFER_BYTES = 32768;
const DT_DIR = 4;
const SEEK_SET = 0;
/** Cookie behind `.hypegear` in a root listing that shows it: one less than what ext4 gives as the end. */
const OWN_COOKIE = { low: 0xfffffffe, high: 0x7fffffff } as const;

/** A directory being read: `buffer` holds entries from `at` to `end` that no reply has taken yet. */
interface Listing {
  readonly fd: number;
  readonly buffer: Buffer;
  at: number;
  end: number;
}

export function listingHandlers(fs: Namespace): Record<number, Handler> {
  const listings = new Listings(fs);
  return {
    [Opcode.READDIR]: (request, body) => listings.read(request, body, false),
    [Opcode.READDIRPLUS]: (request, body) => listings.read(request, body, true),
  };
}

const padding = (length: number): number => -length & 7;

class Listings {
  private readonly fs: Namespace;
  private readonly open = new LRUCache<string, Listing>({
    max: LISTINGS_MAX,
    dispose: (listing, _key, reason) => void (reason === "delete" ? 0 : libc.close(listing.fd)),
  });

  constructor(fs: Namespace) {
    this.fs = fs;
  }

  read(request: Request, body: ReplyBody, plus: boolean): number {
    const low = request.u32(In.READ.offset);
    const high = request.u32(In.READ.offset + 4);
    const room = Math.min(request.u32(In.READ.size), body.capacity - OUT_HEADER_BYTES);
    if (low === OWN_COOKIE.low && high === OWN_COOKIE.high) return 0;
    const listing = this.take(request.slot, low, high);
    if (typeof listing === "number") return listing;
    return this.fill(request.slot, listing, body, room, plus);
  }

  /** The listing of `slot` that stands at this cookie; the caller owns it. */
  private take(slot: InodeSlot, low: number, high: number): Listing | number {
    const start = low === 0 && high === 0;
    const key = this.key(slot, low, high);
    const known = start ? undefined : this.open.get(key);
    if (known !== undefined) {
      this.open.delete(key);
      return known;
    }
    const dirfd = this.fs.directory(slot);
    if (dirfd < 0) return dirfd;
    const fd = libc.openat(dirfd, libc.cstring("."), O.RDONLY | O.DIRECTORY | O.CLOEXEC, 0);
    if (fd < 0) return fd;
    const sought = start ? 0 : libc.lseek(fd, BigInt.asIntN(64, (BigInt(high) << 32n) | BigInt(low)), SEEK_SET);
    if (sought >= 0) return { fd, buffer: Buffer.allocUnsafeSlow(BUFFER_BYTES), at: 0, end: 0 };
    libc.close(fd);
    return sought;
  }

  private fill(slot: InodeSlot, listing: Listing, body: ReplyBody, room: number, plus: boolean): number {
    let last: Entry | undefined;
    for (;;) {
      const entry = this.peek(listing);
      if (typeof entry === "number") {
        this.putBack(slot, listing, entry === 0 ? last : undefined);
        return this.finish(slot, body, room, plus, entry);
      }
      const hidden = slot === ROOT && entry.name === OWN_NAME;
      if (!hidden && !this.fits(body, entry.name, room, plus)) break;
      if (!hidden) this.add(slot, listing, body, entry, plus);
      listing.at = entry.next;
      last = entry;
    }
    this.putBack(slot, listing, last);
    return 0;
  }

  /** Keeps `listing` for whoever goes on behind `last`; closes it if there is no such place. */
  private putBack(slot: InodeSlot, listing: Listing, last: Entry | undefined): void {
    if (last === undefined) libc.close(listing.fd);
    else this.open.set(this.key(slot, last.cookieLow, last.cookieHigh), listing);
  }

  private key(slot: InodeSlot, low: number, high: number): string {
    return `${slot}:${this.fs.inodes.records.generation(slot)}:${high}:${low}`;
  }

  /** The next entry, reading more if need be; 0 at the end, or a negated error number. */
  private peek(listing: Listing): Entry | number {
    const { buffer } = listing;
    if (listing.at >= listing.end) {
      listing.at = 0;
      listing.end = readEntries(listing.fd, buffer);
      if (listing.end <= 0) return listing.end;
    }
    return nextEntry(buffer, listing.at, listing.end)!;
  }

  /** Nothing more can be read: the end (0) or an error, which waits if entries come before it. */
  private finish(slot: InodeSlot, body: ReplyBody, room: number, plus: boolean, result: number): number {
    const own = slot === ROOT && this.fs.options.showControl && result === 0;
    if (own && this.fits(body, OWN_NAME, room, plus)) {
      if (plus) body.zeros(ENTRY_OUT_BYTES);
      this.name(body, OWN_NAME, 1, 0, OWN_COOKIE.low, OWN_COOKIE.high, DT_DIR);
    }
    return body.length > 0 ? 0 : result;
  }

  private fits(body: ReplyBody, name: string, room: number, plus: boolean): boolean {
    const bytes = (plus ? DIRENTPLUS_BYTES : DIRENT_BYTES) + name.length;
    return body.length + bytes + padding(bytes) <= room;
  }

  private add(slot: InodeSlot, listing: Listing, body: ReplyBody, entry: Entry, plus: boolean): void {
    if (plus) this.attributes(slot, listing, body, entry);
    this.name(body, entry.name, entry.inoLow, entry.inoHigh, entry.cookieLow, entry.cookieHigh, entry.type);
  }

  /** The entry's attributes, with a look-up counted; a node id of 0 (the kernel looks up itself) for dots and failures. */
  private attributes(slot: InodeSlot, listing: Listing, body: ReplyBody, entry: Entry): void {
    const { fs } = this;
    const start = body.length;
    const dots = entry.name === "." || entry.name === "..";
    const path = listing.buffer.subarray(entry.nameAt);
    if (!dots && fs.stat.read(listing.fd, path) === 0 && fs.enterStat(slot, entry.name, body) === 0) return;
    body.length = start;
    body.zeros(ENTRY_OUT_BYTES);
  }

  private name(
    body: ReplyBody,
    name: string,
    inoLow: number,
    inoHigh: number,
    low: number,
    high: number,
    type: number,
  ): void {
    body.u32(inoLow);
    body.u32(inoHigh);
    body.u32(low);
    body.u32(high);
    body.u32(name.length);
    body.u32(type);
    body.latin1(name);
    body.zeros(padding(name.length));
  }
}
