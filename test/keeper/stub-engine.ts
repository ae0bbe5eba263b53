/**
 * An engine that serves a directory with one empty file, `disk.raw`, and `.hypegear`, for tests of the keeper and of the
 * commands that talk with a mount. `config.version` names a file that tells it how to behave, a word: `serve`, `die` (before
 * ready), `fail` (with a message), `mute` (dies after ready, having served nothing), `linger N` (ends with 1 the first N times
 * after the unmount). Further lines `COMMAND=ANSWER` are what `control` answers; else `ok`. Every event is appended to the
 * file's `.log`.
 */
import { appendFileSync, readFileSync, readSync, writeSync } from "node:fs";
import { Socket } from "node:net";
import type { EngineConfig, ToEngine, ToKeeper } from "../../src/engine/config.ts";
import { EngineFd } from "../../src/engine/config.ts";
import { Opcode } from "../../src/fuse/constants.ts";

const config = JSON.parse(process.argv[2]!) as EngineConfig;
const lines = readFileSync(config.version, "utf8").trim().split("\n");
const [behaviour, count] = lines[0]!.split(" ");
const note = (text: string): void => appendFileSync(`${config.version}.log`, `${text}\n`);
const keeper = new Socket({ fd: EngineFd.keeper, readable: true, writable: true });
const tell = (line: ToKeeper): boolean => keeper.write(`${JSON.stringify(line)}\n`);

const ENOSYS = 38;
const ENOENT = 2;
const EIO = 5;
const SILENT: number[] = [Opcode.FORGET, Opcode.INTERRUPT, Opcode.BATCH_FORGET];
/** By node id. */
const NODES: readonly { parent: number; name: string; directory: boolean }[] = [
  { parent: 0, name: "", directory: false },
  { parent: 0, name: "/", directory: true },
  { parent: 1, name: ".hypegear", directory: true },
  { parent: 2, name: "control", directory: false },
  { parent: 2, name: "stats", directory: false },
  { parent: 2, name: "stats.json", directory: false },
  { parent: 1, name: "disk.raw", directory: false },
];
const CONTROL = 3;
const STATS_TEXT = "stub statistics\n";
let answer = "";

type Answer = Buffer | number;

function initBody(): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(7, 0);
  body.writeUInt32LE(31, 4);
  body.writeUInt32LE(1 << 20, 20);
  return body;
}

/** fuse_attr. */
function attributes(node: number): Buffer {
  const body = Buffer.alloc(88);
  body.writeUInt32LE(node, 0);
  body.writeUInt32LE(NODES[node]!.directory ? 0o40755 : 0o100600, 60);
  body.writeUInt32LE(1, 64);
  return body;
}

function lookup(parent: number, name: string): Answer {
  const node = NODES.findIndex((entry) => entry.parent === parent && entry.name === name);
  if (node <= 0) return ENOENT;
  const head = Buffer.alloc(40);
  head.writeUInt32LE(node, 0);
  return Buffer.concat([head, attributes(node)]);
}

function content(node: number): Buffer {
  if (node === CONTROL) return Buffer.from(answer);
  return Buffer.from(node === 4 ? STATS_TEXT : JSON.stringify({ dirty: { bytes: 0 }, engine: { pid: process.pid } }));
}

function read(node: number, offset: number): Buffer {
  const bytes = content(node);
  if (node !== CONTROL) return bytes.subarray(offset);
  answer = "";
  return bytes;
}

function write(payload: string): Answer {
  const line = payload.trim();
  note(`control ${line}`);
  answer = `${lines.find((other) => other.startsWith(`${line}=`))?.slice(line.length + 1) ?? "ok"}\n`;
  const body = Buffer.alloc(8);
  body.writeUInt32LE(payload.length, 0);
  return answer.startsWith("ok") ? body : EIO;
}

function opened(): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(1, 8); // FOPEN_DIRECT_IO
  return body;
}

function handle(opcode: number, node: number, request: Buffer): Answer {
  if (opcode === Opcode.INIT) return initBody();
  if (opcode === Opcode.GETATTR) return Buffer.concat([Buffer.alloc(16), attributes(node)]);
  if (opcode === Opcode.LOOKUP) return lookup(node, request.toString("utf8", 40, request.length - 1));
  if (opcode === Opcode.OPEN) return opened();
  if (opcode === Opcode.READ) return read(node, Number(request.readBigUInt64LE(48)));
  if (opcode === Opcode.WRITE) return write(request.toString("utf8", 80));
  if (opcode === Opcode.RELEASE || opcode === Opcode.SETATTR)
    return Buffer.concat([Buffer.alloc(16), attributes(node)]);
  return ENOSYS;
}

function serveOne(request: Buffer): void {
  const opcode = request.readUInt32LE(4);
  if (SILENT.includes(opcode)) return;
  const result = handle(opcode, request.readUInt32LE(16), request);
  const body = Buffer.isBuffer(result) ? result : Buffer.alloc(0);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + body.length, 0);
  header.writeInt32LE(Buffer.isBuffer(result) ? 0 : -result, 4);
  request.copy(header, 8, 8, 16);
  writeSync(EngineFd.fuse, Buffer.concat([header, body]));
  tell({ type: opcode === Opcode.INIT ? "ready" : "served" });
}

/** Called when the mount is gone. */
function end(): void {
  note("unmounted");
  const log = readFileSync(`${config.version}.log`, "utf8").split("\n");
  const ends = log.filter((line) => line === "unmounted").length;
  process.exit(behaviour === "linger" && ends <= Number(count) ? 1 : 0);
}

function serve(): void {
  const buffer = Buffer.alloc(2 * 2 ** 20);
  setInterval(() => {
    try {
      for (;;) serveOne(buffer.subarray(0, readSync(EngineFd.fuse, buffer)));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "ENODEV") end();
    }
  }, 2);
}

function refuse(): void {
  const line: ToKeeper = { type: "failed", message: "stub: refuses; as told", exitCode: 3 };
  keeper.end(`${JSON.stringify(line)}\n`, () => process.exit(3));
}

note(`start ${config.start}${config.adopted ? " adopted" : ""} pid ${process.pid}`);
keeper.on("data", (data: Buffer) => {
  for (const text of data.toString().trim().split("\n")) {
    const { type } = JSON.parse(text) as ToEngine;
    note(type);
    if (type === "drain") tell({ type: "drained", result: 0 });
  }
});
if (behaviour === "die") process.kill(process.pid, "SIGKILL");
else if (behaviour === "fail") refuse();
else if (behaviour === "mute" && config.start > 0) process.exit(7);
else {
  serve();
  if (config.start > 0) tell({ type: "ready" });
  if (behaviour === "mute") setTimeout(() => process.exit(7), 50);
}
