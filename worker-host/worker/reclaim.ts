import type { Topics } from "../contract/topics.ts";
import type { BaseWorker } from "./base-worker.ts";
import { type Clock, within } from "./clock.ts";
import type { Commands } from "./commands.ts";
import type { Description } from "./description.ts";
import { AbortError, Scope } from "./scope.ts";
import type { ScopeOwner } from "./scope-owner.ts";
import type { Store } from "./store.ts";
import type { WorkerWire } from "./worker-wire.ts";

const DO_STOP_MS = 1_000;
const STOP_MS = 5_000;
const SETTLE_MS = 1_000;

/** What a worker's life is made of. */
export interface LifeParts {
  owner: ScopeOwner;
  clock: Clock;
  topics: Topics;
  scope: Scope;
  wire: WorkerWire;
  commands: Commands;
  description: Description;
  warn: (text: string) => void;
}

/** Ends all that a worker is and has, each part in its time, whatever it does. Never rejects. */
export async function reclaim(
  worker: BaseWorker | undefined,
  store: Store | undefined,
  parts: LifeParts,
): Promise<void> {
  const { owner, clock, topics, scope, wire, description } = parts;
  scope.end(new AbortError("the worker stops"));
  const last = new Scope(owner, clock);
  if (worker) {
    await switchOff(last, parts);
    const stopping = last.track(() => worker.stop(), "stop()");
    await finish("stop()", STOP_MS, stopping, parts);
  }
  await finish("what it started", SETTLE_MS, scope.idle(), parts);
  last.end();
  await finish("writing its store", SETTLE_MS, Promise.resolve(store?.flush()), parts);
  description.close();
  const offline = wire.publish(topics.availability(owner.id), "offline", { qos: 1, retain: true });
  await within(clock, SETTLE_MS, offline);
  await within(clock, SETTLE_MS, wire.stop());
}

/** Runs `do_stop`, if there is one. Never rejects. */
export async function switchOff(
  scope: Scope,
  parts: Pick<LifeParts, "owner" | "clock" | "commands" | "warn">,
): Promise<void> {
  const stopping = scope.track(() => parts.commands.stop(scope), "do_stop");
  await finish("do_stop", DO_STOP_MS, stopping, parts);
}

async function finish(
  what: string,
  ms: number,
  work: Promise<unknown>,
  { owner, clock, warn }: Pick<LifeParts, "owner" | "clock" | "warn">,
): Promise<void> {
  try {
    if (!(await within(clock, ms, work))) warn(`${what} has not ended in ${ms / 1000} s: left behind`);
  } catch (error) {
    owner.report(error, what);
  }
}
