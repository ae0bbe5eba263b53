/** No server: the file itself, on the backing filesystem. */
import { join } from "node:path";
import { writeImage } from "../support/scratch.ts";
import type { Server } from "./server.ts";

export const backing: Server = {
  name: "backing",
  about: "the backing filesystem itself, O_DIRECT to its device",
  start: (stage) => {
    const file = join(stage.directory, "image");
    writeImage(file, stage.imageBytes);
    return Promise.resolve({ file, pid: null });
  },
};
