/** The table of namespace operations: everything but the data of images. */
import { E } from "../base/errno.ts";
import { INODES_MAX } from "../base/limits.ts";
import { Opcode } from "../fuse/constants.ts";
import { type Handler, NO_REPLY } from "../fuse/request.ts";
import { changeHandlers } from "./change.ts";
import type { Namespace, NamespaceOptions } from "./context.ts";
import { createHandlers } from "./create.ts";
import { listingHandlers } from "./listing.ts";
import { lookupHandlers } from "./lookup.ts";
import { openHandlers } from "./open.ts";
import { removeHandlers } from "./remove.ts";
import { renameHandlers } from "./rename.ts";
import { xattrHandlers } from "./xattrs.ts";

/** Handlers by opcode. Every one sees only requests for an inode that is known: stale node ids end here. */
export function namespaceHandlers(fs: Namespace): Partial<Record<number, Handler>> {
  const { options } = fs;
  const families = [
    lookupHandlers,
    changeHandlers,
    createHandlers,
    removeHandlers,
    renameHandlers,
    openHandlers,
    listingHandlers,
    xattrHandlers,
  ];
  const table: Partial<Record<number, Handler>> = {};
  for (const family of families) {
    for (const [opcode, handler] of Object.entries(family(fs)))
      table[Number(opcode)] = guarded(options, Number(opcode), handler);
  }
  return table;
}

/** What a request for an unknown inode gets: the forgetting ones have no reply. */
const refusal = (opcode: number): number => (opcode === Opcode.FORGET ? NO_REPLY : -E.ESTALE);

function guarded({ inodes, control }: NamespaceOptions, opcode: number, handler: Handler): Handler {
  if (opcode === Opcode.BATCH_FORGET) return handler; // names its inodes in its body
  return (request, body) => {
    if (request.slot >= INODES_MAX) return control?.(request, body) ?? refusal(opcode);
    return inodes.check(request) < 0 ? refusal(opcode) : handler(request, body);
  };
}
