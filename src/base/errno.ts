import { constants } from "node:os";

/** Linux error numbers by name; system calls in `sys/` return them negated. */
export const E = {
  ...constants.errno,
  ESTALE: 116,
  EDQUOT: 122,
  EUCLEAN: 117,
  EREMOTEIO: 121,
  ENOTBLK: 15,
  ECANCELED: 125,
} as const;

const names = new Map<number, string>(Object.entries(E).map(([name, number]) => [number, name]));

/** The name of error number `errno` (either sign), for example `ENOSPC`. */
export const errnoName = (errno: number): string => names.get(Math.abs(errno)) ?? `errno ${Math.abs(errno)}`;
