/** Files of ours in a directory that another user may own: a symbolic link that lies there is never followed. */
import { closeSync, fsyncSync, openSync, readFileSync, unlinkSync } from "node:fs";
import { O } from "./constants.ts";

/** An O_PATH descriptor of the directory at `path`. Throws ENOTDIR for a symbolic link. */
export const openDirectory = (path: string): number => openSync(path, O.PATH | O.DIRECTORY | O.NOFOLLOW | O.CLOEXEC);

/** The path of an open directory: what is done below it is done in that one, whatever its name leads to by then. */
export const pathOfOpen = (directory: number): string => `/proc/self/fd/${directory}`;

/** Removes the file at `path`, if one is there. */
export function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
  }
}

/** Makes the file at `path`, in the place of whatever lies there, and opens it for writing. */
export function createAnew(path: string): number {
  removeFile(path);
  return openSync(path, O.WRONLY | O.CREAT | O.EXCL | O.NOFOLLOW | O.CLOEXEC, 0o600);
}

export function readText(path: string): string {
  const fd = openSync(path, O.RDONLY | O.NOFOLLOW | O.NONBLOCK | O.CLOEXEC);
  try {
    return readFileSync(fd, "utf8");
  } finally {
    closeSync(fd);
  }
}

/** Makes what was done to the names in the directory at `path` durable. */
export function syncDirectory(path: string): void {
  const fd = openSync(path, O.RDONLY | O.DIRECTORY | O.CLOEXEC);
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
