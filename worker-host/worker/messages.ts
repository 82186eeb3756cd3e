import type { Runstate } from "../contract/description.ts";
import type { LogOptions } from "./log.ts";
import type { BrokerOptions } from "./wire.ts";

/** A worker's config as its host read it. */
export interface ConfigSpec {
  values: Record<string, unknown>;
  /** Its file, as it is shown to people; the one to write where there is none. */
  file: string;
  /** The line of each key, by its JSON pointer (RFC 6901). */
  lines: Record<string, number>;
}

/** What a runner has to know of a worker to run it. */
export interface WorkerSpec {
  id: string;
  /** The URL of its bundle. */
  bundle: string;
  /** Its source file, as it is shown to people. */
  file: string;
  /** The folder of its source file. */
  dir: string;
  config: ConfigSpec;
}

/** What all workers of a runner share; sent first. */
export interface RunnerSetup {
  broker: BrokerOptions;
  prefix: string;
  hostName: string;
  log: LogOptions;
}

/** From the host to a runner. */
export type ToRunner =
  | { type: "setup"; setup: RunnerSetup }
  | { type: "start"; spec: WorkerSpec }
  | { type: "stop"; id: string };

/** From a runner to its host. */
export type FromRunner = { type: "state"; id: string; state: Runstate; detail?: string };
