/** One boot of a virtual machine under QEMU, from power on to power off, without hardware virtualisation. */
import { type ChildProcess, spawn } from "node:child_process";
import { Failure } from "../../base/errors.ts";
import { programPath } from "./initramfs.ts";

export interface GuestDisk {
  readonly path: string;
  readonly format: "raw" | "qcow2";
  /** QEMU's name for whether its host page cache is used. */
  readonly cache: "none" | "writeback";
  readonly aio: "native" | "io_uring" | "threads";
}

export interface GuestBoot {
  /** Path of the kernel image. */
  readonly kernel: string;
  /** Path of the initramfs (`buildInitramfs`). */
  readonly initramfs: string;
  /** /dev/vda, /dev/vdb and so on. */
  readonly disks: readonly GuestDisk[];
  /** Longest wait for power off, milliseconds; default 120,000: emulated guests on a busy host are slow. */
  readonly timeoutMs?: number;
  /** Ends the guest, as if its plug were pulled. */
  readonly signal?: AbortSignal;
  /** Called with each fact as the guest reports it. */
  readonly onFact?: (name: string, value: string) => void;
}

export interface GuestReport {
  /** What the script reported by `fact`, the last value of each name. */
  readonly facts: ReadonlyMap<string, string>;
  /** All that the serial console said. */
  readonly console: string;
}

const TIMEOUT_MS = 120_000;
/** Console lines shown when a guest fails. */
const TAIL_LINES = 15;
const FACT = /^@@ (\S+) ?(.*)$/;

/** Boots, waits for power off, and returns what the guest reported; a Failure when its script failed or it never ended. */
export async function bootGuest(boot: GuestBoot): Promise<GuestReport> {
  const qemu = programPath("qemu-system-x86_64", "qemu-system-x86");
  // A process group of its own: a Ctrl-C at the terminal reaches us, and we end the guest in our order.
  const child = spawn(qemu, qemuArguments(boot), { stdio: ["ignore", "pipe", "pipe"], detached: true });
  const facts = new Map<string, string>();
  const listener = new ConsoleListener((name, value) => {
    facts.set(name, value);
    boot.onFact?.(name, value);
  });
  child.stdout.on("data", (chunk: Buffer) => listener.hear(chunk));
  child.stderr.on("data", (chunk: Buffer) => listener.hear(chunk));
  const ending = await ended(child, boot.timeoutMs ?? TIMEOUT_MS, boot.signal);
  if (ending !== "" || facts.get("status") !== "0") {
    const why = ending || `its script ended with status ${facts.get("status") ?? "unknown"}`;
    throw new Failure(`the guest failed: ${why}; the end of its console:\n${listener.tail()}`);
  }
  return { facts, console: listener.text };
}

function qemuArguments(boot: GuestBoot): string[] {
  const command = "console=ttyS0 quiet loglevel=4 panic=-1 mitigations=off nokaslr random.trust_cpu=on no_timer_check";
  return [
    ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none"],
    ["-accel", "tcg,thread=multi", "-cpu", "max", "-m", "384", "-smp", "1"],
    ["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ["-kernel", boot.kernel, "-initrd", boot.initramfs, "-append", command],
    ...boot.disks.map(diskArguments),
  ].flat();
}

function diskArguments(disk: GuestDisk, index: number): string[] {
  const file = disk.path.replaceAll(",", ",,");
  const drive = `file=${file},format=${disk.format},cache=${disk.cache},aio=${disk.aio},discard=unmap,if=none,id=disk${index}`;
  return ["-drive", drive, "-device", `virtio-blk-pci,drive=disk${index}`];
}

/** Resolves when the process is gone: with "" after a good end, else with what went wrong. */
function ended(child: ChildProcess, timeoutMs: number, signal: AbortSignal | undefined): Promise<string> {
  return new Promise((resolve) => {
    let why = "";
    const end = (reason: string): void => {
      why = reason;
      child.kill("SIGKILL");
    };
    const timer = setTimeout(() => end(`no power off within ${timeoutMs / 1000} s`), timeoutMs);
    const interrupted = (): void => end("interrupted");
    signal?.addEventListener("abort", interrupted, { once: true });
    if (signal?.aborted) interrupted();
    const exiting = (): void => void child.kill("SIGKILL"); // an uncaught error here must not leave the guest behind
    process.once("exit", exiting);
    const finish = (reason: string): void => {
      clearTimeout(timer);
      process.off("exit", exiting);
      signal?.removeEventListener("abort", interrupted);
      resolve(reason);
    };
    child.once("error", (error) => finish(`QEMU did not start: ${error.message}`));
    child.once("close", (code, killedBy) =>
      finish(why || (code === 0 ? "" : `QEMU ended with ${killedBy ?? `status ${code}`}`)),
    );
  });
}

/** Cuts the serial console into lines and picks out the facts. */
class ConsoleListener {
  text = "";
  private rest = "";
  private readonly onFact: (name: string, value: string) => void;

  constructor(onFact: (name: string, value: string) => void) {
    this.onFact = onFact;
  }

  hear(chunk: Buffer): void {
    const heard = chunk.toString("utf8").replaceAll("\r", "");
    this.text += heard;
    const lines = (this.rest + heard).split("\n");
    this.rest = lines.pop()!;
    for (const line of lines) {
      const [, name, value] = FACT.exec(line) ?? [];
      if (name !== undefined) this.onFact(name, value!);
    }
  }

  tail(): string {
    const lines = this.text.split("\n").filter((line) => line.trim() !== "");
    return lines.slice(-TAIL_LINES).join("\n");
  }
}
