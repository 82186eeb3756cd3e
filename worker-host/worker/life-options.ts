import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Runstate } from "../contract/description.ts";
import type { Topics } from "../contract/topics.ts";
import type { Clock } from "./clock.ts";
import type { ConnectGate } from "./connect-gate.ts";
import type { WorkerClass } from "./load.ts";
import type { WorkerSpec } from "./messages.ts";
import type { BrokerOptions } from "./wire.ts";

/** What a life is handed from its process. */
export interface LifeOptions {
  broker: BrokerOptions;
  topics: Topics;
  log: Logger;
  clock: Clock;
  random: () => number;
  newId: () => string;
  gate: ConnectGate;
  load: (spec: WorkerSpec) => Promise<WorkerClass>;
  onState: (state: Runstate, detail?: string) => void;
  /** Tells of a process group that the worker started, and of its end. */
  onGroup: (pid: number, alive: boolean) => void;
  /** Instead of a socket to the broker's address. */
  openStream?: () => Duplex;
}

/** What came of a new config: it holds, or the worker has to be started anew for it. */
export type Configured = "applied" | "restart";
