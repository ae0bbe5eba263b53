/** Ends while its I/O threads still start: `early-end.js shutdown|exit MILLISECONDS`. */
import { ThreadsIo } from "../../src/sys/threads.ts";

const THREADS = 32; // so many that some of them are still starting at any of the test's moments

const [how, milliseconds] = process.argv.slice(2);
const io = new ThreadsIo(THREADS);
Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, Number(milliseconds));
if (how === "shutdown") io.shutdown();
process.exit(0);
