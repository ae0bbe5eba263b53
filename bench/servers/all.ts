/** The servers, in the order of the tables. */
import { backing } from "./backing.ts";
import { fuseNative, fuseNativeTuned } from "./fuse-native.ts";
import { hypegear } from "./hypegear.ts";
import { memoryCopy, memorySplice } from "./memory.ts";
import { qemu } from "./qemu.ts";
import type { Server } from "./server.ts";

export const SERVERS: readonly Server[] = [
  hypegear,
  memoryCopy,
  memorySplice,
  fuseNative,
  fuseNativeTuned,
  qemu,
  backing,
];
