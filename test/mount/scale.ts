/**
 * How long and how large the load tests are: `HYPEGEAR_LOAD=20 npm test -- test/mount` makes them twenty times so, by hand.
 */

const factor = Number(process.env["HYPEGEAR_LOAD"] ?? "1");
if (!(factor >= 1)) throw new RangeError(`HYPEGEAR_LOAD must be 1 or more: received ${process.env["HYPEGEAR_LOAD"]}`);

/** `amount` (seconds, MiB, rounds) of a normal run, in this run. */
export const scaled = (amount: number): number => Math.round(amount * factor);
