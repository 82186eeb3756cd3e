import { type Clock, within } from "../base/clock.ts";
import type { Scope } from "../base/scope.ts";
import { AbortError, type ScopeOwner } from "../base/scope-owner.ts";
import type { EndReason, Stopping } from "../commands/stopping.ts";
import type { Topics } from "../contract/topics.ts";
import type { BaseWorker } from "./base-worker.ts";
import type { Description } from "./description.ts";
import { RECLAIM_MS } from "./limits.ts";
import type { Store } from "./store.ts";
import type { WorkerConnection } from "./worker-connection.ts";

/** What a worker's life is made of. */
export interface LifeParts {
  owner: ScopeOwner;
  clock: Clock;
  topics: Topics;
  scope: Scope;
  stopping: Stopping;
  /** What no stop may cut. */
  shielded: Scope;
  wire: WorkerConnection;
  description: Description;
  warn: (text: string) => void;
}

/** Ends all that a worker is and has, each part in its time, whatever it does. Never rejects. */
export async function reclaim(
  worker: BaseWorker | undefined,
  store: Store | undefined,
  { reason, stopTimeoutMs }: { reason: EndReason; stopTimeoutMs: number },
  parts: LifeParts,
): Promise<void> {
  const { owner, clock, topics, scope, stopping, shielded, wire, description } = parts;
  const over = new AbortError("the worker stops");
  scope.end(over);
  if (worker) await stopWorker(worker, reason, stopTimeoutMs, parts);
  await finish("what it started", RECLAIM_MS, scope.idle(), parts);
  shielded.end(over);
  stopping.end(over);
  await finish("writing its store", RECLAIM_MS, Promise.resolve(store?.flush()), parts);
  description.close();
  const offline = wire.publish(topics.availability(owner.id), "offline", { qos: 1, retain: true });
  await within(clock, RECLAIM_MS, offline);
  await within(clock, RECLAIM_MS, wire.stop());
}

/** `do_stop` and `stop()` have one time together, after what no stop may cut. */
async function stopWorker(
  worker: BaseWorker,
  reason: EndReason,
  stopTimeoutMs: number,
  parts: LifeParts,
): Promise<void> {
  const { clock, stopping, shielded } = parts;
  await finish("what it shields", stopTimeoutMs, shielded.idle(), parts);
  const began = clock.monotonic();
  // What came of it the worker has been told: its own bound comes before this one.
  const stop = () => stopping.stop(reason, "command").catch(() => undefined);
  // An all-stop that comes meanwhile has it run once more.
  await within(
    clock,
    stopTimeoutMs,
    stop().then(() => stopping.over()),
  );
  const leftMs = Math.max(0, stopTimeoutMs - (clock.monotonic() - began));
  const stopped = stopping.scope.child("stop()").track(() => worker.stop(), "stop()");
  await finish("stop()", leftMs, stopped, parts, stopTimeoutMs);
}

async function finish(
  what: string,
  ms: number,
  work: Promise<unknown>,
  { owner, clock, warn }: Pick<LifeParts, "owner" | "clock" | "warn">,
  toldMs = ms,
): Promise<void> {
  try {
    if (!(await within(clock, ms, work))) warn(`${what} has not ended in ${toldMs / 1000} s: left behind`);
  } catch (error) {
    owner.report(error, what);
  }
}
