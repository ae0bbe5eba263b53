/** Operations on the data of images, but for READ and WRITE, which the session serves itself. */
import { E } from "../base/errno.ts";
import { INODES_MAX } from "../base/limits.ts";
import { asSlot, type InodeSlot } from "../base/units.ts";
import { FSYNC_DATA_ONLY, In, Opcode } from "../fuse/constants.ts";
import { type Handler, type Outcome, PENDING, type ReplyBody, type Request } from "../fuse/request.ts";
import { Counter, type Counters, HistogramSlot } from "../stats/counters.ts";
import { SEEK_DATA, SEEK_HOLE } from "../sys/constants.ts";
import type { Io } from "../sys/io.ts";
import type { Volume } from "../volume/volume.ts";
import { bodySlot } from "./context.ts";
import type { Inodes } from "./inodes.ts";

export interface ImageOperationsOptions {
  volume: Volume;
  inodes: Inodes;
  io: Io;
  counters: Counters;
  nowUs: () => number;
  /** Takes set-user-id and set-group-id away, as a write by somebody else does; 0 or a negated error number. */
  killPrivileges: (slot: InodeSlot) => number;
  /** Serves slots from INODES_MAX on. */
  control: Handler;
}

/** Largest offset that is told exactly in a double; larger ones are no image's. */
const OFFSET_MAX = Number.MAX_SAFE_INTEGER;

/** Handlers by opcode. */
export function imageHandlers(options: ImageOperationsOptions): Partial<Record<number, Handler>> {
  const operations = new ImageOperations(options);
  return {
    [Opcode.FLUSH]: guarded(options, () => 0),
    [Opcode.FSYNC]: guarded(options, (request) => operations.fsync(request)),
    [Opcode.FALLOCATE]: guarded(options, (request) => operations.fallocate(request)),
    [Opcode.LSEEK]: guarded(options, (request, body) => operations.lseek(request, body)),
    [Opcode.COPY_FILE_RANGE]: guarded(options, (request) => operations.copy(request, false)),
    [Opcode.COPY_FILE_RANGE_64]: guarded(options, (request) => operations.copy(request, true)),
    [Opcode.SYNCFS]: (request) => operations.syncfs(request),
    // Images' own reads and writes never come here.
    [Opcode.READ]: guarded(options, () => -E.EIO),
    [Opcode.WRITE]: guarded(options, () => -E.EIO),
  };
}

function guarded({ inodes, control }: ImageOperationsOptions, handler: Handler): Handler {
  return (request, body) => {
    if (request.slot >= INODES_MAX) return control(request, body);
    const known = inodes.check(request);
    return known < 0 ? known : handler(request, body);
  };
}

class ImageOperations {
  private readonly options: ImageOperationsOptions;

  constructor(options: ImageOperationsOptions) {
    this.options = options;
  }

  fsync(request: Request): Outcome {
    const { volume } = this.options;
    const dataOnly = (request.u32(In.FSYNC.flags) & FSYNC_DATA_ONLY) !== 0;
    const done = this.timed(request);
    volume.flush(request.slot, dataOnly, done);
    return PENDING;
  }

  /** Every image home, then the filesystem's own metadata. */
  syncfs(request: Request): Outcome {
    const { volume, io, inodes } = this.options;
    const done = this.timed(request);
    if (volume.flushesAtOnce) done(0);
    else volume.drain.once((result) => (result < 0 ? done(result) : io.syncfs(inodes.directories.rootFd, done)));
    return PENDING;
  }

  private timed(request: Request): (result: number) => void {
    const { counters, nowUs } = this.options;
    const later = request.later();
    const startedUs = nowUs();
    counters.at[Counter.flushRequests]! += 1;
    return (result) => {
      later.end(result);
      counters.observe(HistogramSlot.flush, nowUs() - startedUs);
    };
  }

  fallocate(request: Request): Outcome {
    const offset = request.u64(In.FALLOCATE.offset);
    const length = request.u64(In.FALLOCATE.length);
    if (offset + length > OFFSET_MAX) return -E.EFBIG;
    const refused = this.modified(request, request.slot);
    if (refused < 0) return refused;
    const later = request.later();
    this.options.volume.allocate(request.slot, request.u32(In.FALLOCATE.mode), offset, length, (result) =>
      later.end(result),
    );
    return PENDING;
  }

  /**
   * The content of `slot` is about to change: what a plain filesystem does to its privileges then. Unlike a write, these requests
   * do not say whether to (FUSE_HANDLE_KILLPRIV_V2 leaves it to us): all but root's do.
   */
  private modified(request: Request, slot: InodeSlot): number {
    return request.uid === 0 ? 0 : this.options.killPrivileges(slot);
  }

  lseek(request: Request, body: ReplyBody): Outcome {
    const whence = request.u32(In.LSEEK.whence);
    if (whence !== SEEK_DATA && whence !== SEEK_HOLE) return -E.EINVAL;
    const offset = this.options.volume.seek(request.slot, request.u64(In.LSEEK.offset), whence);
    if (offset < 0) return offset;
    body.u64(offset);
    return 0;
  }

  /** `wide`: the count is answered in 64 bits. */
  copy(request: Request, wide: boolean): Outcome {
    const { volume, inodes } = this.options;
    if (request.u32(In.COPY_FILE_RANGE.nodeOut) > INODES_MAX) return -E.EOPNOTSUPP;
    const target = bodySlot(inodes, request, In.COPY_FILE_RANGE.nodeOut);
    if (target < 0) return target;
    const refused = this.modified(request, asSlot(target));
    if (refused < 0) return refused;
    const from = request.u64(In.COPY_FILE_RANGE.offsetIn);
    const to = request.u64(In.COPY_FILE_RANGE.offsetOut);
    const length = Math.min(request.u64(In.COPY_FILE_RANGE.length), COPY_BYTES_MAX);
    const later = request.later();
    volume.copy(request.slot, from, asSlot(target), to, length, (result) => {
      if (result < 0) later.end(result);
      else later.reply((body) => (wide ? body.u64(result) : (body.u32(result), body.u32(0))));
    });
    return PENDING;
  }
}

/** Bytes copied at a time: the images are closed to others meanwhile. */
const COPY_BYTES_MAX = 2 ** 30;
