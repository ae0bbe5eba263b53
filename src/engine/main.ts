/** The engine's entry: started by the keeper with its descriptors and one argument. */
import { setFlagsFromString } from "node:v8";
import { Failure } from "../base/errors.ts";
import { openLog } from "../base/log.ts";
import { type EngineConfig, EngineFd } from "./config.ts";
import { Engine } from "./engine.ts";
import { KeeperLink } from "./keeper-link.ts";

/**
 * What V8 may copy into one compiled function, bytes of bytecode: a write passes some forty short functions, of which a third were calls with what
 * it allows itself. Of flags that it does not have it says so, and goes on. Publishing 64 KiB of blocks: 2.8 us before, 2.2 since.
 */
const INLINING = ["--max-inlined-bytecode-size-cumulative=4600", "--max-inlined-bytecode-size=2000"];

for (const flag of INLINING) setFlagsFromString(flag);
const config = JSON.parse(process.argv[2]!) as EngineConfig;
const log = openLog(config.logFile, config.settings.logLevel, { role: "engine", mountpoint: config.mountpoint });
process.umask(0); // files get exactly the mode that the caller asked for
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP"] as const) process.on(signal, () => undefined); // the keeper's business

try {
  new Engine(config, log).run();
  process.exit(0);
} catch (error) {
  log.fatal({ err: error }, (error as Error).message);
  if (error instanceof Failure) {
    new KeeperLink(EngineFd.keeper).send({ type: "failed", message: error.message, exitCode: error.exitCode });
    process.exit(error.exitCode);
  }
  process.exit(1);
}
