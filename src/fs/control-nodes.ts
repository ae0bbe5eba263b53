/**
 * The nodes of the virtual directory `.hypegear`, and their attributes as FUSE structures. They take the inode slots from
 * INODES_MAX on, which no record of the slab has, so they are the same for every engine of a mount.
 */
import type { Clock } from "../base/clock.ts";
import { INODES_MAX } from "../base/limits.ts";
import { BLOCK_BYTES } from "../base/units.ts";
import { DIRENT_BYTES, ENTRY_OUT_BYTES } from "../fuse/constants.ts";
import type { ReplyBody } from "../fuse/request.ts";
import { S } from "../sys/constants.ts";

export const CONTROL_NAME = ".hypegear";

/** Files whose content is made when it is read. */
export type ControlFile = "stats" | "stats.json" | "metrics" | "images.json";

export interface ControlNode {
  /** Distance from INODES_MAX. */
  index: number;
  name: string;
  mode: number;
}

const file = (index: number, name: ControlFile, mode = 0o444): ControlNode => ({ index, name, mode: S.IFREG | mode });

export const DIRECTORY: ControlNode = { index: 0, name: CONTROL_NAME, mode: S.IFDIR | 0o555 };
export const COMMANDS: ControlNode = { index: 5, name: "control", mode: S.IFREG | 0o600 };
/** By index. */
export const CONTROL_NODES: readonly ControlNode[] = [
  DIRECTORY,
  file(1, "stats"),
  file(2, "stats.json"),
  file(3, "metrics"),
  file(4, "images.json", 0o400), // it names files in directories that others may not look into
  COMMANDS,
];

/** Directory entry types, as readdir(3) shows them. */
const DT_DIR = 4;
const DT_REG = 8;
const ROOT_INODE = 1;
/** Inode numbers that no backing filesystem has reached; exact as a number. */
const INODE_FIRST = 2 ** 53 - 256;
/** The names never change. Attributes are asked for each time: the modification time is the time. */
const ENTRY_VALID_SECONDS = 60;
/** STATX_BASIC_STATS: what a stat(2) holds. */
const STATX_BASIC = 0x7ff;

export const inodeOf = (node: ControlNode): number => INODE_FIRST + node.index;

/** What a listing of the mount's root holds for the directory when it is to be shown. */
export const CONTROL_DIRENT = { name: CONTROL_NAME, inode: INODE_FIRST, type: DT_DIR } as const;

/** Writes the nodes' structures into replies. */
export class ControlAttributes {
  private readonly uid: number;
  private readonly gid: number;
  private readonly clock: Clock;

  /** `uid` and `gid`: the mounting user's. */
  constructor(uid: number, gid: number, clock: Clock) {
    this.uid = uid;
    this.gid = gid;
    this.clock = clock;
  }

  /** fuse_entry_out. */
  entry(body: ReplyBody, node: ControlNode): void {
    body.u64(INODES_MAX + node.index + 1);
    body.u64(0);
    body.u64(ENTRY_VALID_SECONDS);
    body.zeros(16);
    this.attributes(body, node);
  }

  /** fuse_attr_out. */
  reply(body: ReplyBody, node: ControlNode): void {
    body.zeros(16);
    this.attributes(body, node);
  }

  /** fuse_statx_out. The kernel asks with it when the creation time is wanted, which these nodes have not. */
  statx(body: ReplyBody, node: ControlNode): void {
    const { seconds, nanoseconds } = this.clock.civil();
    const time = (): void => {
      body.u64(seconds);
      body.u32(nanoseconds);
      body.zeros(4);
    };
    body.zeros(32);
    body.u32(STATX_BASIC);
    body.u32(BLOCK_BYTES);
    body.zeros(8);
    body.u32(linksOf(node));
    body.u32(this.uid);
    body.u32(this.gid);
    body.u16(node.mode);
    body.u16(0);
    body.u64(inodeOf(node));
    body.zeros(24);
    time();
    body.zeros(16);
    time();
    time();
    body.zeros(16 + 14 * 8);
  }

  /**
   * fuse_attr. The size is 0, as in /proc: the content is made anew for each reader, and a size that is too small would cut
   * what tools copy that believe it.
   */
  private attributes(body: ReplyBody, node: ControlNode): void {
    const { seconds, nanoseconds } = this.clock.civil();
    body.u64(inodeOf(node));
    body.zeros(16);
    for (let time = 0; time < 3; time++) body.u64(seconds);
    for (let time = 0; time < 3; time++) body.u32(nanoseconds);
    body.u32(node.mode);
    body.u32(linksOf(node));
    body.u32(this.uid);
    body.u32(this.gid);
    body.u32(0);
    body.u32(BLOCK_BYTES);
    body.u32(0);
  }

  /**
   * Fills a reply to READDIR, or READDIRPLUS if `plus`, of at most `size` bytes. A cookie is the number of entries before:
   * `.`, `..`, then the nodes.
   */
  listing(body: ReplyBody, cookie: number, size: number, plus: boolean): void {
    const limit = Math.min(size, body.capacity);
    for (let at = cookie; at < CONTROL_NODES.length + 1; at++) {
      const node = at === 0 ? DIRECTORY : at === 1 ? undefined : CONTROL_NODES[at - 1]!;
      const name = at === 0 ? "." : at === 1 ? ".." : node!.name;
      if (body.length + (plus ? ENTRY_OUT_BYTES : 0) + DIRENT_BYTES + padded(name.length) > limit) return;
      // `.` and `..` count no look-up: node id 0 tells the kernel so.
      if (plus && at >= 2) this.entry(body, node!);
      else if (plus) body.zeros(ENTRY_OUT_BYTES);
      dirent(body, node, name, at + 1);
    }
  }
}

/** fuse_dirent; without a node it is the mount's root. */
function dirent(body: ReplyBody, node: ControlNode | undefined, name: string, next: number): void {
  body.u64(node === undefined ? ROOT_INODE : inodeOf(node));
  body.u64(next);
  body.u32(name.length);
  body.u32(node === undefined || node === DIRECTORY ? DT_DIR : DT_REG);
  body.latin1(name);
  body.zeros(padded(name.length) - name.length);
}

const padded = (bytes: number): number => (bytes + 7) & ~7;

const linksOf = (node: ControlNode): number => (node === DIRECTORY ? 2 : 1);
