/** What clients of `ordered` share, which are given ROOT LOG NOTES SEED MS: they note when each step was answered, and end in time. */
import { openSync } from "node:fs";
import { Random } from "../sim/random.ts";
import { AnswerNotes } from "./answers.ts";
import { Client } from "./client.ts";

const [root, logPath, notesPath, seed, ms] = process.argv.slice(2) as [string, string, string, string, string];
const log = openSync(logPath, "r");
const notes = openSync(notesPath, "a");
const began = performance.now();

export const answers = new AnswerNotes(notes, log);
export const client = new Client(root, log, notes, answers);
export const random = new Random(Number(seed));

/** That share of its time is over. */
export const past = (share: number): boolean => performance.now() > began + Number(ms) * share;
