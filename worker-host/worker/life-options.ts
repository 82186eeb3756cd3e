import type { Duplex } from "node:stream";
import type { Logger } from "pino";
import type { Clock } from "../base/clock.ts";
import type { Counts } from "../base/counts.ts";
import type { Secrets } from "../base/log.ts";
import type { SeenIds } from "../commands/seen-ids.ts";
import type { Topics } from "../contract/topics.ts";
import type { ConnectGate } from "../mqtt/mqtt-client.ts";
import type { BrokerOptions } from "../mqtt/wire.ts";
import type { WorkerSpec, WorkerState } from "./channel.ts";
import type { Latch } from "./halt-guard.ts";
import type { WorkerClass } from "./load.ts";

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
  onState: (state: Omit<WorkerState, "id">) => void;
  /** Of the whole process. */
  latch: Latch;
  /** Told what no log and no error of this process may hold. */
  secrets?: Secrets;
  /** The ids of its last commands, over its restarts. */
  seen: SeenIds;
  /** Told whenever code of the worker is entered: which, and where that is known. */
  onEnter?: (where: string, place?: string) => void;
  /** Has the host stop everything; where there is no such way to it, the bus is one. */
  onWantsAllStop?: (reason: string | undefined) => void;
  /** Told when its first `hold` has something on, and when its last one has nothing on any more. */
  onHolds?: (on: boolean) => void;
  /** Tells of a process group that the worker started, and of its end. */
  onGroup: (pid: number, alive: boolean) => void;
  /** Where what it does is counted, over its restarts. */
  counts?: Counts;
  /** A prop that says nothing of itself is taken to be there: a test plays it. */
  unknownAreThere?: boolean;
  /** Instead of a socket to the broker's address. */
  openStream?: () => Duplex;
}

/** What came of a new config: it holds, or the worker has to be started anew for it. */
export type Configured = "applied" | "restart";
