/** Live settings: from the keeper at the first start, from the slab after a restart, changed by `hypegear set`. */
import { E, errnoName } from "../base/errno.ts";
import { ExitCode, Failure } from "../base/errors.ts";
import { LOSS_WINDOW_S_MAX, LOSS_WINDOW_S_MIN } from "../base/limits.ts";
import type { Log } from "../base/log.ts";
import { type Device, detectDevice } from "../device/class.ts";
import type { Volume } from "../volume/volume.ts";
import { type Durability, EngineFd, type LiveSettings } from "./config.ts";

/** Where in the slab's memory region they lie: behind the negotiation, before what `fs/memory.ts` has. */
const AT = 1024;
const BYTES_MAX = 2048;

/** How each key of `set` becomes a field; the command line has checked the values already, others may not have. */
const FIELDS: Record<string, (settings: LiveSettings, value: string) => void> = {
  durability: (settings, value) => {
    settings.durability = oneOf(value, ["sync", "ordered", "volatile"]);
  },
  "loss-window": (settings, value) => {
    settings.lossWindow = within(value, LOSS_WINDOW_S_MIN, LOSS_WINDOW_S_MAX);
  },
  device: (settings, value) => {
    settings.device = oneOf(value, ["auto", "hdd", "ssd"]);
  },
  "dirty-limit": (settings, value) => {
    settings.dirtyLimit = within(value, 0.05, 0.95);
  },
  "rate-limit": (settings, value) => {
    settings.rateLimit = within(value, 0, 2 ** 50);
  },
  "max-age": (settings, value) => {
    settings.maxAge = within(value, 0, 2 ** 31);
  },
  "log-level": (settings, value) => {
    settings.logLevel = oneOf(value, ["fatal", "error", "warn", "info", "debug", "trace"]);
  },
};

interface Stored {
  readonly current: LiveSettings;
  readonly inForce: Durability;
}

export class Settings {
  current: LiveSettings;
  device: Device;
  private readonly memory: Buffer;
  private readonly volume: Volume;
  private readonly log: Log;
  /** A change of durability waits for what it promises. */
  private isChanging = false;
  /** The durability that the next engine begins in, to change it to that of `current`: they differ while a change is under way. */
  private inForce: Durability;

  /**
   * `inherited`: an earlier engine of this mount left its settings in `memory`, the slab's memory region. `inForce`: the durability that
   * `volume` began in.
   */
  constructor(
    initial: LiveSettings,
    memory: ArrayBuffer,
    inherited: boolean,
    volume: Volume,
    inForce: Durability,
    log: Log,
  ) {
    this.memory = Buffer.from(memory, AT, BYTES_MAX);
    this.current = inherited ? (storedIn(this.memory)?.current ?? initial) : initial;
    this.volume = volume;
    this.inForce = inForce;
    this.log = log;
    this.device = this.apply();
    this.store();
    if (volume.durability !== undefined)
      volume.durability.onMode = (mode) => {
        this.inForce = mode;
        this.store();
      };
    const { durability } = this.current;
    const fallback = (): Durability => this.inForce;
    this.change(durability, fallback, (result) => {
      if (result === -E.EOPNOTSUPP)
        log.error(`durability ${durability}: ${errnoName(result)}; a flush takes its image home`);
    });
  }

  /**
   * Carries out `KEY=VALUE`; `done` gets 0 when what it promises holds, or a negated error number, and then all is as before. A
   * wrong key or value is a usage Failure.
   */
  set(assignment: string, done: (result: number) => void): void {
    const equals = assignment.indexOf("=");
    const key = assignment.slice(0, Math.max(equals, 0));
    const field = FIELDS[key];
    if (field === undefined) {
      throw new Failure(
        `set ${assignment}: give KEY=VALUE with one of ${Object.keys(FIELDS).join(", ")}`,
        ExitCode.usage,
      );
    }
    const next = { ...this.current };
    field(next, assignment.slice(equals + 1));
    if (next.durability !== this.current.durability || (key === "durability" && this.isChanging)) {
      this.become(next.durability, done);
      return;
    }
    this.take(next);
    this.log.info({ setting: assignment }, `set ${assignment}`);
    done(0);
  }

  /** What is stored as current is what holds: until the change is through, the mode before. */
  private become(durability: Durability, done: (result: number) => void): void {
    if (this.isChanging)
      throw new Failure(`set durability=${durability}: another change is under way; wait for it, and try again`);
    if (durability === "ordered" && !this.volume.hasCache)
      throw new Failure(`set durability=${durability}: takes the cache; mount without --cache off`);
    const before = this.current.durability;
    const fallback = (): Durability => before;
    this.change(durability, fallback, (result) => {
      if (result === 0) this.log.info(`set durability=${durability}`);
      done(result);
    });
  }

  /** If it fails, it becomes what `fallback` says then; and if that fails too, what is in force is what is told. */
  private change(durability: Durability, fallback: () => Durability, done: (result: number) => void): void {
    this.isChanging = true;
    const end = (result: number): void => {
      this.isChanging = false;
      done(result);
    };
    this.volume.setDurability(durability, (result) => {
      if (result === 0) this.holds(durability);
      if (result === 0 || result === -E.EOPNOTSUPP) end(result);
      else this.fallBack(fallback(), `durability ${durability}: ${errnoName(result)}`, () => end(result));
    });
  }

  private fallBack(durability: Durability, why: string, done: () => void): void {
    this.volume.setDurability(durability, (result) => {
      this.holds(result === 0 ? durability : this.inForce);
      this.log.error(`${why}; it is ${this.current.durability}`);
      done();
    });
  }

  private holds(durability: Durability): void {
    this.inForce = durability;
    this.take({ ...this.current, durability });
  }

  private take(next: LiveSettings): void {
    this.current = next;
    this.device = this.apply();
    this.store();
  }

  private apply(): Device {
    const { volume, current } = this;
    const { journaling } = volume;
    volume.maxAgeUs = current.maxAge * 1e6;
    volume.pressure.setShare(current.dirtyLimit);
    volume.writer.pacer.rateLimit = current.rateLimit;
    this.log.level = current.logLevel;
    const device = this.deviceNow();
    if (journaling !== undefined) {
      journaling.durability.window.lengthUs = current.lossWindow * 1e6;
      journaling.router.device = device.class;
    }
    return device;
  }

  private deviceNow(): Device {
    if (this.current.device === "auto") return detectDevice(EngineFd.backing);
    return { class: this.current.device, reason: "set by the user" };
  }

  /** Kept with its length first, written last: a kill in between leaves the old or none. */
  private store(): void {
    const { current, inForce } = this;
    const text = JSON.stringify({ current, inForce } satisfies Stored);
    this.memory.writeUInt32LE(0, 0);
    this.memory.write(text, 4, "latin1");
    this.memory.writeUInt32LE(text.length, 0);
  }

  /** The durability in which an earlier engine was, as it left it in `memory`. */
  static storedDurability(memory: ArrayBuffer): Durability {
    return storedIn(Buffer.from(memory, AT, BYTES_MAX))?.inForce ?? "sync";
  }
}

function storedIn(memory: Buffer): Stored | undefined {
  const length = memory.readUInt32LE(0);
  if (length === 0 || length > BYTES_MAX - 4) return undefined;
  return JSON.parse(memory.toString("latin1", 4, 4 + length)) as Stored;
}

function oneOf<T extends string>(value: string, choices: readonly T[]): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) throw new Failure(`"${value}": must be one of ${choices.join(", ")}`, ExitCode.usage);
  return found;
}

function within(value: string, low: number, high: number): number {
  const number = Number(value);
  if (value === "" || !(number >= low && number <= high)) {
    throw new Failure(`"${value}": must be a number from ${low} to ${high}`, ExitCode.usage);
  }
  return number;
}
