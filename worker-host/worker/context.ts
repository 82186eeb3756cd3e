import type { Logger } from "pino";
import type { Clock } from "../base/clock.ts";
import type { Scope } from "../base/scope.ts";
import type { Commands } from "../commands/commands.ts";
import type { Topics } from "../contract/topics.ts";
import { Calls } from "../mqtt/calls.ts";
import { Peers } from "../mqtt/peers.ts";
import type { Wire } from "../mqtt/wire.ts";
import type { Describable } from "./description.ts";
import type { Loop } from "./loop.ts";
import type { WorkerSpec } from "./messages.ts";
import { SendGuard, type SendGuardOptions } from "./send-guard.ts";
import type { Store } from "./store.ts";

/** All that a worker is given by whoever runs it. */
export interface WorkerContext {
  id: string;
  /** What holds now: it changes while the worker runs. */
  readonly config: unknown;
  /** The folder of its source file. */
  dir: string;
  /** The folder for its own files; made on first use. */
  dataDir: string;
  log: Logger;
  topics: Topics;
  wire: Wire & { readonly connected: boolean };
  scope: Scope;
  /** A fresh id for a command. */
  newId: () => string;
  calls: Calls;
  peers: Peers;
  store: Store;
  loop: Loop;
  commands: Pick<Commands, "add" | "remove" | "execute">;
  description: Describable;
  /** What may go out, and when. */
  sends: SendGuard;
  /** What no stop may cut runs in here. */
  shielded: Scope;
  /** As of `LifeOptions`. */
  onWantsAllStop?: (reason: string | undefined) => void;
  /** Tells of a process group that the worker started, and of its end. */
  onGroup: (pid: number, alive: boolean) => void;
}

/** What a context is made of, besides what the worker's spec says. */
export interface ContextParts
  extends Omit<WorkerContext, "id" | "config" | "dir" | "dataDir" | "calls" | "peers" | "sends">,
    Omit<SendGuardOptions, "hostName" | "peers"> {
  clock: Clock;
  /** A prop that says nothing of itself is taken to be there. */
  unknownAreThere?: boolean;
  /** What its config is now. */
  live: { readonly value: unknown };
}

export function createContext(
  { id, dir, dataDir }: WorkerSpec,
  { live, clock, unknownAreThere = false, ...parts }: ContextParts,
): WorkerContext {
  const { topics, wire, newId } = parts;
  const peers = new Peers({ topics, wire, clock, unknownAreThere });
  const timeoutOf = (target: string, action: string) => peers.timeoutOf(target, action);
  const calls = new Calls({ id, topics, wire, clock, newId, timeoutOf });
  const sends = new SendGuard({ ...parts, hostName: topics.hostName, peers });
  return {
    ...parts,
    sends,
    id,
    dir,
    dataDir,
    calls,
    peers,
    get config() {
      return live.value;
    },
  };
}
