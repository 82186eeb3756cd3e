import type { Logger } from "pino";
import type { Clock } from "../base/clock.ts";
import type { LogOptions } from "../base/log.ts";
import type { Output } from "../base/output.ts";
import type { WorkerHostError } from "../contract/errors.ts";
import type { LogFiles } from "./data/log-files.ts";
import type { Settings } from "./settings/settings.ts";

/** What a host is handed from the edge. */
export interface HostOptions {
  settings: Settings;
  version: string;
  /** Paths are shown to people as from here. */
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  log: Logger;
  logOptions: LogOptions;
  logFiles: LogFiles;
  /** Standard output. */
  output: Output;
  clock: Clock;
  random: () => number;
  /** A fresh id for a command, or for a host. */
  newId: () => string;
  /** Called where another host took the name over: the workers are ended, and the host is to be too. */
  onOusted: (error: WorkerHostError) => void;
}
