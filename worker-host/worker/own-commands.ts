import { setImmediate } from "node:timers/promises";
import { types } from "node:util";
import { andThen } from "../base/promises.ts";
import type { Scope } from "../base/scope.ts";
import { CommandInScope } from "../commands/command-runs.ts";
import {
  assertEnd,
  assertWithoutArgs,
  type CommandEntry,
  type CommandSpec,
  entryOf,
  type RunningCommand,
  specOf,
} from "../commands/command-spec.ts";
import { WorkerHostError } from "../contract/errors.ts";
import { CallError } from "../mqtt/calls.ts";
import { BaseWorker } from "./base-worker.ts";
import { coveredBy, type WorkerContext } from "./context.ts";

interface OwnCallsOptions extends Pick<WorkerContext, "commands" | "ownCalls" | "sends" | "scope"> {
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

const PREFIX = "do_";

type Method = (args: unknown, command: RunningCommand) => unknown;

const isMethod = (value: unknown): value is Method => typeof value === "function";

/**
 * Every `do_*` of a worker, its own and its parents', by the action that calls it, and what is ready-made. What overrides
 * a method without saying anything of it by `@command` has the spec of that method.
 *
 * @param config which its limits may hang on
 * @throws WorkerHostError `load_failed`
 */
export function collectCommands(worker: BaseWorker, config: unknown): Map<string, CommandEntry> {
  const methods = new Map<string, { method: Method; spec: CommandSpec | undefined }>();
  for (let holder: object = worker; holder !== BaseWorker.prototype; holder = Object.getPrototypeOf(holder)) {
    for (const name of Object.getOwnPropertyNames(holder)) {
      const action = name.slice(PREFIX.length);
      if (!name.startsWith(PREFIX) || action === "") continue;
      const method: unknown = Reflect.get(holder, name, worker);
      if (!isMethod(method) || coveredBy(method)) continue;
      const override = methods.get(action);
      if (override) override.spec ??= specOf(method);
      else methods.set(action, { method, spec: specOf(method) });
    }
  }
  const table = new Map<string, CommandEntry>();
  for (const [action, { method, spec = {} }] of methods) {
    table.set(
      action,
      entryOf(action, spec, (args, command) => method.call(worker, args, command), config),
    );
  }
  addArming(worker, table);
  for (const entry of table.values()) assertEnd(entry, table, "load_failed");
  return table;
}

const ARMED = "armed";
const DISARMED = "disarmed";

/**
 * Whether a worker is one to arm and disarm, by its class's `static arming`.
 *
 * @throws WorkerHostError `load_failed` where that is neither true nor false
 */
function isArming(worker: BaseWorker): boolean {
  const { arming = false } = worker.constructor as { arming?: unknown };
  if (typeof arming === "boolean") return arming;
  throw new WorkerHostError("load_failed", `static arming is ${JSON.stringify(arming)}: expected true or false`);
}

/** Says that a worker is disarmed, if it is one to arm; for before its start. */
export function beginDisarmed(worker: BaseWorker): void {
  if (isArming(worker)) worker.state = DISARMED;
}

/**
 * Adds `arm` and `disarm` to the commands of a worker that is one to arm, where it has none of its own; every `stop`
 * disarms it.
 *
 * @throws WorkerHostError `load_failed`
 */
function addArming(worker: BaseWorker, table: Map<string, CommandEntry>): void {
  if (!isArming(worker)) return;
  const ready = (action: string, spec: CommandSpec, state: string) =>
    table.get(action) ??
    entryOf(action, spec, () => {
      worker.state = state;
    });
  const disarm = ready("disarm", { description: "Disarm it: what needs it armed is refused", safe: true }, DISARMED);
  assertWithoutArgs(disarm, "what every stop runs", "load_failed");
  table.set("arm", ready("arm", { description: "Arm it: what needs it armed may run" }, ARMED));
  table.set("disarm", { ...disarm, withStop: true });
}
