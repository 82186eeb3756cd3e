import { setImmediate } from "node:timers/promises";
import { types } from "node:util";
import { andThen } from "../base/and-then.ts";
import type { Scope } from "../base/scope.ts";
import type { CommandEntry } from "../commands/command-table.ts";
import { CommandInScope } from "../commands/request.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { CallError } from "../mqtt/calls.ts";
import type { BaseWorker } from "./base-worker.ts";
import { coveredBy, type WorkerContext } from "./context.ts";

export interface OwnCallsOptions extends Pick<WorkerContext, "commands" | "ownCalls" | "sends" | "scope"> {
  /** Where the worker's `start()` runs, while it does. */
  starting: () => Scope | undefined;
}

/**
 * Makes a worker's calls of its own `do_` methods commands to itself, from now on. Properties of the worker's own cover
 * the methods of its class, so that `super.do_fire()` stays a plain call.
 */
export function takeOwnCalls(worker: BaseWorker, entries: Iterable<CommandEntry>, options: OwnCallsOptions): void {
  for (const entry of entries) {
    const name = `do_${entry.action}`;
    const found: unknown = Reflect.get(worker, name);
    const method = coveredBy(found) ?? found;
    if (typeof method !== "function") continue;
    const isAsync = types.isAsyncFunction(method);
    const call = (...args: unknown[]) => {
      const scope = options.scope.ofCaller;
      if (scope.callsPlainly(name)) return method.apply(worker, args);
      const ask = () => execute(worker, entry, args, scope, options);
      return isAsync ? rejecting(scope, ask) : ask();
    };
    if (method === found) Object.defineProperty(worker, name, { value: call, configurable: true, writable: true });
    else options.ownCalls.set(name, call);
  }
}

/**
 * Runs a command for the worker's own code; gives what its handler gives.
 *
 * @throws CallError `refused`; AbortError; whatever the handler throws; WorkerHostError `invalid_value` for more arguments
 * than a command has
 */
function execute(
  { id }: BaseWorker,
  { action, spec }: CommandEntry,
  [args, more]: unknown[],
  scope: Scope,
  { commands, sends, starting }: OwnCallsOptions,
): unknown {
  // A method may hand on the command that it got.
  if (more !== undefined && !(more instanceof CommandInScope)) {
    const text = `do_${action} is a command, which has one argument: put more into an object, or give the method another name`;
    throw new WorkerHostError("invalid_value", text);
  }
  // It is a command, and ends as one, from wherever it is called.
  if (!scope.outside || scope.ended) sends.enter(scope, `do_${action}`, sends.isFree(id, action, spec.safe));
  const inStart = scope === starting();
  return andThen(commands.execute({ action, args: args ?? undefined }, { from: scope }), (outcome) => {
    if (outcome.status === "done") return outcome.result;
    // No start() fails for an all-stop or a lock-out.
    if (inStart && outcome.status !== "failed" && sends.held(scope) !== undefined) {
      sends.tell(outcome.status === "refused" ? outcome.why : `${action} aborted: ${outcome.error.message}`);
      return undefined;
    }
    throw outcome.status === "refused" ? new CallError("refused", outcome.why) : outcome.error;
  });
}

/** What `ask` gives. It rejects in a later turn, and as a `sleep` in `scope`: a loop that catches everything doesn't spin. */
async function rejecting(scope: Scope, ask: () => unknown): Promise<unknown> {
  try {
    return await ask();
  } catch (error) {
    await (scope.ended ? Promise.allSettled([scope.sleep(0)]) : setImmediate());
    throw error;
  }
}
