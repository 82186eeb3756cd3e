import type { Logger } from "pino";
import type { Clock } from "../base/clock.ts";
import type { Scope } from "../base/scope.ts";
import type { Commands } from "../commands/commands.ts";
import type { Topics } from "../contract/topics.ts";
import { Calls } from "../mqtt/calls.ts";
import { Peers } from "../mqtt/peers.ts";
import type { WorkerSpec } from "./channel.ts";
import type { Describable } from "./description.ts";
import { SendGuard, type SendGuardOptions } from "./halt-guard.ts";
import type { Loop } from "./loop.ts";
import type { Store } from "./store.ts";
import type { WorkerConnection } from "./worker-connection.ts";

export type OwnCall = (...args: unknown[]) => unknown;

const COVER = Symbol("covers a method");

/**
 * Covers each `do_` method of a worker by a property of its own, before its fields are set: so that also what is bound in
 * a field is run by `calls`, once they are there.
 */
export function coverMethods(worker: object, base: object, calls: ReadonlyMap<string, OwnCall>): void {
  for (let holder = Object.getPrototypeOf(worker); holder && holder !== base; holder = Object.getPrototypeOf(holder)) {
    for (const name of Object.getOwnPropertyNames(holder)) {
      if (!name.startsWith("do_") || Object.hasOwn(worker, name)) continue;
      const method: unknown = Object.getOwnPropertyDescriptor(holder, name)?.value;
      if (typeof method !== "function") continue;
      const cover = (...args: unknown[]) => (calls.get(name) ?? method).apply(worker, args);
      const value = Object.assign(cover, { [COVER]: method });
      Object.defineProperty(worker, name, { value, configurable: true, writable: true });
    }
  }
}

/** The method that a function covers. */
export function coveredBy(method: unknown): unknown {
  return typeof method === "function" && COVER in method ? method[COVER] : undefined;
}

/** All that a worker is given by whoever runs it. */
export interface WorkerContext {
  id: string;
  /** What holds now: it changes while the worker runs. */
  readonly config: unknown;
  /** The folder of its source file. */
  dir: string;
  /** The folder for its own files; made on first use. */
  dataDir: string;
  clock: Clock;
  log: Logger;
  topics: Topics;
  wire: Pick<WorkerConnection, "publish" | "publishSurely" | "subscribe" | "connected">;
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
  /** How long that may go on after a stop, in ms. */
  stopTimeoutMs: () => number;
  /** By their names, what runs the worker's calls of its own `do_` methods as commands. */
  ownCalls: Map<string, OwnCall>;
  /** As of `LifeOptions`. */
  onWantsAllStop?: (reason: string | undefined) => void;
  /** Tells people of something, in the log and on `status/warn`. */
  warn: (text: string) => void;
  /** Tells of a process group that the worker started, and of its end. */
  onGroup: (pid: number, alive: boolean) => void;
}

/** What a context is made of, besides what the worker's spec says. */
export interface ContextParts
  extends Omit<WorkerContext, "id" | "config" | "dir" | "dataDir" | "calls" | "peers" | "sends">,
    Omit<SendGuardOptions, "hostName" | "peers"> {
  /** A prop that says nothing of itself is taken to be there. */
  unknownAreThere?: boolean;
  /** What its config is now. */
  live: { readonly value: unknown };
}

export function createContext(
  { id, dir, dataDir }: WorkerSpec,
  { live, unknownAreThere = false, ...parts }: ContextParts,
): WorkerContext {
  const { clock, topics, wire, newId } = parts;
  const peers = new Peers({ topics, wire, clock, unknownAreThere });
  const timeoutOf = (target: string, action: string) => peers.timeoutOf(target, action);
  const calls = new Calls({ id, topics, wire, clock, newId, timeoutOf });
  const sends = new SendGuard({ ...parts, hostName: topics.hostName, peers });
  return {
    ...parts,
    clock,
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
