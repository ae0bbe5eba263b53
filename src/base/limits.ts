/** Every limit of the program in one place, with its unit and reason; their relations are asserted at load. */
import { assert } from "./assert.ts";
import { BLOCK_BYTES } from "./units.ts";

const KiB = 1024;
const MiB = 1024 * KiB;
const GiB = 1024 * MiB;

/** Largest FUSE request payload, bytes: the kernel's default ceiling (`max_pages_limit` 256); more did not pay when measured. */
export const REQUEST_BYTES_MAX = 1 * MiB;
/** Pages in the largest request. */
export const REQUEST_PAGES_MAX = REQUEST_BYTES_MAX / BLOCK_BYTES;
/** Frames that must be free before a request can be read: the largest payload, and one more when it straddles blocks. */
export const LANDING_FRAMES = REQUEST_PAGES_MAX + 1;
/** Background requests that the kernel keeps in flight: several guests at queue depth 64. */
export const BACKGROUND_REQUESTS_MAX = 512;
/** Above this many the kernel calls the mount congested. */
export const BACKGROUND_REQUESTS_CONGESTED = 384;

/** Cache size in bytes: the smallest holds the landing window four times over. */
export const CACHE_BYTES_MIN = 8 * MiB;
export const CACHE_BYTES_DEFAULT = 1 * GiB;
/** Most memory that payloads pass through with `--cache off`. */
export const THROUGH_BYTES_MAX = 64 * MiB;
/** 2^24 frames of 4 KiB. */
export const CACHE_BYTES_MAX = 64 * GiB;

/** Inode records that one slab can hold: bounds its metadata. Beyond it, look-ups fail with ENFILE. */
export const INODES_MAX = 2 ** 20;
/** Inode records made usable at a time. */
export const INODE_CHUNK = 4096;
/** Longest file name, bytes (NAME_MAX). */
export const NAME_BYTES_MAX = 255;
/** Most bytes of metadata that a frame may cost, in the slab and in the engine's own memory together. */
export const FRAME_METADATA_BYTES_MAX = 64;

/** Share of the frames that dirty data may take before writers wait (`--dirty-limit`). */
export const DIRTY_LIMIT_DEFAULT = 0.8;
/** Share of the dirty limit at which the background writer starts. */
export const WRITEBACK_START = 0.5;
/** Share of the dirty limit at which writers begin to be delayed: above the start, so that a keeping-up device delays nobody. */
export const DELAY_START = 0.7;
/** Longest delay of one write by the dirty curve, microseconds (ZFS: zfs_delay_max_ns). */
export const DELAY_US_MAX = 100_000;

/** Largest home I/O, bytes. */
export const RUN_BYTES_MAX = 1 * MiB;
export const RUN_FRAMES_MAX = RUN_BYTES_MAX / BLOCK_BYTES;
/** Home writes in flight at once on a device. */
export const HOME_WRITES_MAX = 16;
/** The same while guests wait for home reads from it. */
export const HOME_WRITES_BESIDE_READS = 2;
/** Frames written home but not yet flushed, as a share of all frames, at which a flush is begun. */
export const UNFLUSHED_SHARE = 0.125;
/** The same while writers are delayed, as seconds of the device's measured rate. */
export const UNFLUSHED_SECONDS = 0.1;
/** How long nothing of an image must go home until its time is set there and its note made firm, microseconds: done after every flush,
 * either makes the next one write the inode too. */
export const HOME_QUIET_US = 1_000_000;
/** Retry of a failed home write, microseconds: the first wait, doubled up to the last. */
export const RETRY_US_FIRST = 100_000;
export const RETRY_US_LAST = 10_000_000;

/** How long a home operation may take before its image is stalled, microseconds: above what a flush takes on a busy disk, far below the
 * 30 s after which guests give up. */
export const HOME_STALLED_US = 5_000_000;
/** How long it may take of a stalled one, or that stays stalled, microseconds: one that crawls would be so by turns. */
export const HOME_REVIVED_US = 1_000_000;
/** How often it is looked at what is under way at home, microseconds. */
export const HOME_LOOK_US = 1_000_000;
/** Share of the dirty limit beyond which a device is crowding. */
export const CROWDING_SHARE = 0.5;
/** Memory for writes that wait when their frames are wanted: a guest's whole queue of large writes. And how long no
 * request could be read before, microseconds: a busy device makes room sooner. */
export const SPILL_BYTES_MAX = 128 * MiB;
export const SPILL_AFTER_US = 500_000;

/** Seconds for which the kernel may use attributes and names without asking: long enough for `ls -l`, short enough that changes made beneath the mount show soon. */
export const ATTR_TIMEOUT_S = 1;
export const ENTRY_TIMEOUT_S = 1;
/** Descriptors of backing directories kept. */
export const OPEN_DIRECTORIES_MAX = 256;
/** Directories opened on the way to a deep one that are kept: far fewer than OPEN_DIRECTORIES_MAX, so that a walk closes none that its caller uses. */
export const WALK_KEPT_MAX = 16;
/** Listings under way that are kept open between two READDIR. */
export const LISTINGS_MAX = 64;

/** Free bytes of the backing filesystem below which each write is allocated before it is answered. */
export const SPACE_MARGIN_BYTES = 256 * MiB;
/** How long the filesystem counts as short of room before it is asked again, microseconds. */
export const SPACE_RECHECK_US = 100_000;
/** Frames that are never dirty, whatever the user's share: requests land in them, and changes of shape take some. */
export const CLEAN_FRAMES_MIN = LANDING_FRAMES + 32;
/** Share of the dirty limit that all images with failing home writes together may take; beyond, their writes get the error. */
export const FAILING_SHARE = 0.25;

/** Buffers of each device for home reads of up to 64 KiB and of up to 1 MiB: 41 MiB in all, touched only when used. */
export const READ_BUFFERS_SMALL = 256;
export const READ_BUFFERS_LARGE = 24;

/** Open backing files kept, beside those with dirty data. */
export const OPEN_FILES_MAX = 512;
/** The journal file, bytes. The smallest holds what a window of `ordered` may hold, and a checkpoint beside it. */
export const JOURNAL_BYTES_MIN = 16 * MiB;
export const JOURNAL_BYTES_DEFAULT = 1 * GiB;
export const JOURNAL_BYTES_MAX = 64 * GiB;
/** Share of the free space that a journal takes whose size the user did not give. */
export const JOURNAL_FREE_SHARE = 1 / 8;
/** Bytes of a new journal that are written with zeros: a flush of blocks that were only allocated takes twice as long. */
export const JOURNAL_WRITTEN_BYTES = 16 * MiB;
/** Time between two instants of `ordered`, seconds. */
export const LOSS_WINDOW_S_DEFAULT = 5;
export const LOSS_WINDOW_S_MIN = 0.1;
export const LOSS_WINDOW_S_MAX = 300;

/** Memory that must stay available beside the slab, bytes: keeper and engine themselves, and the host's own needs. */
export const MEMORY_SPARE_BYTES = 256 * MiB;
/** Deaths of the engine in a row without a request served before the keeper gives up. */
export const ENGINE_DEATHS_MAX = 5;
/** How long an engine must have been ready for the deaths before it to be forgotten, microseconds: nobody may ask it for anything, and one
 * that dies of what it takes over dies sooner. */
export const ENGINE_SETTLED_US = 3_000_000;
/** Between two tries to unmount what must not be detached while it is in use, microseconds: an end is not awaited by anybody's write. */
export const UNUSED_POLL_US = 1_000_000;

assert(WRITEBACK_START < DELAY_START && DELAY_START < 1, "the writer must start before writers are delayed");
assert(
  LANDING_FRAMES * 4 * BLOCK_BYTES <= CACHE_BYTES_MIN,
  "the landing window must be a small part of the smallest cache",
);
assert(WALK_KEPT_MAX * 4 < OPEN_DIRECTORIES_MAX, "a walk must not close the descriptor of the walk before it");
assert(JOURNAL_BYTES_MIN < JOURNAL_BYTES_DEFAULT, "a small filesystem gets a small journal");
assert(BACKGROUND_REQUESTS_CONGESTED < BACKGROUND_REQUESTS_MAX, "congestion comes before the limit");
