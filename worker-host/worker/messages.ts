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

/** What a prop's author, or its operator, says of a worker in its config file, for people. */
export interface About {
  name?: string;
  area?: string;
  version?: string;
}

/** What a runner has to know of a worker to run it. */
export interface WorkerSpec {
  id: string;
  /** The name of its class's file, or of the folder that holds it. */
  classId: string;
  /** The URL of its bundle. */
  bundle: string;
  /** Its source file, as it is shown to people. */
  file: string;
  /** The folder of its source file. */
  dir: string;
  /** The folder for its own files. */
  dataDir: string;
  config: ConfigSpec;
  about: About;
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
  /** Starts a worker; one that runs under that id is stopped first, with `patient` after its running commands. */
  | { type: "start"; run: number; spec: WorkerSpec; patient: boolean }
  | { type: "stop"; id: string }
  /** Gives a worker what its config file says now. */
  | { type: "configure"; request: number; id: string; config: ConfigSpec; about: About }
  /** Loads a worker and checks its config, without starting it. */
  | { type: "inspect"; request: number; spec: WorkerSpec };

/** From a runner to its host. */
export type FromRunner =
  | { type: "state"; id: string; run: number; state: Runstate; detail?: string }
  /** What a worker's class and config are worth, in words for people. */
  | { type: "checked"; request: number; fault?: string; warnings: string[] }
  /** A worker started a process group, or it has ended. */
  | { type: "group"; pid: number; alive: boolean };
